"""The repository for MkDocs: each file where the repository has it, so that the links of its pages hold."""

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent.parent


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what `extra.published` of the configuration names."""
    for pattern in config.extra["published"]:
        for path in sorted(ROOT.glob(pattern)):
            name = path.relative_to(ROOT).as_posix()
            file = File.generated(config, name, abs_src_path=str(path))
            if path.suffix in config.extra["shown_as_text"]:
                file.dest_uri += ".txt"
            files.append(file)
    return files
