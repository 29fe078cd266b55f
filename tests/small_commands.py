"""The end of a small Hydra command, for tests of what surrounds a command's own work."""

ENTRY = """
@hydra.main(config_path=".", config_name="command", execution_whitelist=EXECUTION_WHITELIST)
def main(cfg):
    return run_command(run, cfg)

if __name__ == "__main__":
    main()
"""
