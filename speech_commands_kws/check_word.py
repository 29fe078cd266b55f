"""How distinct a keyword is, before anything is trained: `kws check-word lights "hey lights"`."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

import hydra
from omegaconf import DictConfig, OmegaConf

from speech_commands_kws.cli.launch import (
    CONFIG_DIR,
    EXECUTION_WHITELIST,
    build,
    hiding_passwords,
    run_answering,
)
from speech_commands_kws.cli.terminal import say, write_rows
from speech_commands_kws.data.synthesis.distinctness import GOOD, Finding
from speech_commands_kws.errors import check_choice

TABLE, JSON = "table", "json"
ADVICE = (
    "better: a longer word that is seldom said, or two words as one keyword, such as 'hey lights'"
)


def run(cfg: DictConfig) -> float:
    """Write what speaks against each keyword to standard output; return how many are good."""
    check_choice((TABLE, JSON), format=cfg.format)
    findings = build(cfg.check)(OmegaConf.to_object(cfg.keywords))
    if cfg.format == JSON:
        facts = [{**asdict(found), "verdict": found.verdict} for found in findings]
        json.dump(facts, sys.stdout, indent=1)
        print()
    else:
        write_table(findings)
    return float(sum(found.verdict == GOOD for found in findings))


def write_table(findings: Sequence[Finding]) -> None:
    heads = ("word", "verdict", "what speaks against it")
    rows = [
        (found.word, found.verdict, "; ".join(found.reasons) or "nothing") for found in findings
    ]
    write_rows(sys.stdout, heads, rows, wrapped=heads[-1])
    unheard = [found.word for found in findings if not found.per_hour]
    if unheard:
        say(f"wordfreq has never counted {', '.join(unheard)}: check the spelling")
    if any(found.verdict != GOOD for found in findings):
        say(ADVICE)


@hiding_passwords
@hydra.main(
    config_path=CONFIG_DIR, config_name="check_word", execution_whitelist=EXECUTION_WHITELIST
)
def main(cfg: DictConfig) -> float | None:
    return run_answering(run, cfg)


if __name__ == "__main__":
    main()
