"""Move the project to another address: python .ci/publish_at.py https://github.com/OWNER/NAME

settings.ini's `git_url` is the address; badges, install cells, links and metadata name it too, and Pages' address follows from it.
All of them are rewritten in the files that git tracks, and nothing else is. Look with `git diff --stat`, then commit."""
import os
import re
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

GITHUB = re.compile(r"https://github\.com/([A-Za-z0-9-]+)/([\w.-]+)")


def forms(url):
    "How pages and metadata write an address: with its host; as Colab writes it; as GitHub Pages serves it."
    owner, name = GITHUB.fullmatch(url).groups()
    return [f"github.com/{owner}/{name}", f"github/{owner}/{name}", f"{owner.lower()}.github.io/{name}"]


def main(url):
    "Rewrite, and say how many files changed."
    if not GITHUB.fullmatch(url) or url.endswith(".git"): sys.exit(f"{url}: write it as https://github.com/OWNER/NAME")
    os.chdir(Path(__file__).resolve().parent.parent)  # wherever it is called
    ini = ConfigParser()
    ini.read("settings.ini", encoding="utf-8")
    pairs = list(zip(forms(ini["DEFAULT"]["git_url"]), forms(url), strict=True))
    names = subprocess.run(["git", "ls-files", "-z"], capture_output=True, text=True, check=True).stdout.split("\0")[:-1]
    changed = []
    for path in map(Path, names):
        if path.is_symlink() or not path.is_file(): continue
        try: old = path.read_bytes().decode()
        except UnicodeDecodeError: continue  # a picture, or weights
        new = old
        for before, after in pairs: new = re.sub(rf"(?<![\w.-]){re.escape(before)}(?![\w-])", lambda _, after=after: after, new)
        if new != old:
            path.write_bytes(new.encode())
            changed.append(path)
    print(f"{len(changed)} files now say {url}")


if __name__ == "__main__":
    if len(sys.argv) != 2: sys.exit(__doc__)
    main(sys.argv[1].rstrip("/"))
