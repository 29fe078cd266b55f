"""The configuration of every command; a wheel carries these files as speech_commands_kws/configs."""
