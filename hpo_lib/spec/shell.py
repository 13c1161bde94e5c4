"""Commands as people type them into a shell: how they are written for a trial, which has none."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Sequence

from hpo_lib.spec import variables
from hpo_lib.validation import shown

#: What a shell makes something of, apart from placeholders.
_SHELL = re.compile(r"[&|;<>`*?~\n]|\$(?!\{)")
_IN_QUOTES = re.compile(r"\\.|'[^']*'|\"(?:[^\"\\]|\\.)*\"", re.DOTALL)
#: Words that YAML takes as they stand, and those of them that it takes for something else.
_PLAIN = re.compile(r"(--?)?[A-Za-z_/][\w./=-]*|\.\.?/[\w./=-]+", re.ASCII)
_NO_TEXT = ("true", "false", "yes", "no", "on", "off", "y", "n", "null")
_LONG_LINE = 200
_EXAMPLE = ("python", "train.py")
_ASSIGNED = re.compile(r"(?P<name>[A-Za-z_]\w*)=(?P<value>.*)", re.ASCII | re.DOTALL)
_WRAPPERS = ("env", "exec", "nohup", "time", "nice", "conda", "tini", "stdbuf", "timeout", "srun")
_SHELLS = ("sh", "bash", "dash", "ash", "zsh", "ksh")
_TAKES_TEXT = re.compile(r"-[a-zA-Z]*c")
#: What a text says that uses what is behind it, or is told the parameters in another way.
_BEHIND, _TOLD = re.compile(r"\$\{?[@*1-9]"), re.compile(r"\$\{params\.|HPO_PARAMS")
_NEEDS_BASH = re.compile(r"\b(?:source|pushd|popd|pipefail)\b")
_PARAMETERS = '"$@"'
#: The parts of a shell's line: sends its output, ends a command, is a word, parts words.
_PART = re.compile(
    r"(?P<redirected>\d*(?:>>|>&|<&|>\||>|<)(?![<>(&])[ \t]*)|(?P<end>&&(?!>)|\|\|?(?!&)|;(?!;)|\n)"
    r"|(?P<word>(?:'[^']*'|\"(?:[^\"\\`]|\\.)*\"|\\.|\$\([^()'\"`]*\)|\$\{[^{}'\"`]*\}"
    r"|(?!(?<![^\s;&|])\#)[^\s'\"\\`|&;<>()])++)|(?P<blanks>[ \t]+)|(?P<other>.)",
    re.DOTALL,
)
#: Commands that get something ready for the program, or take what it prints.
_BESIDE = (
    *("cd", "pushd", "popd", ".", "source", "export", "set", "unset", "ulimit", "umask", "module"),
    *("eval", "echo", "printf", "true", ":", "mkdir", "rm", "cp", "mv", "ln", "touch", "chmod"),
    *("cat", "ls", "pwd", "date", "sleep", "wait", "tee", "head", "tail", "grep", "sort", "tr"),
    *("sed", "awk", "gzip", "tar", "curl", "wget", "pip", "pip3", "apt-get", "nvidia-smi"),
    *("hostname", "test", "[", "exit"),
)
#: Words with which a line is more than commands one after another.
_TOO_MUCH = (
    *("if", "then", "else", "elif", "fi", "for", "while", "until", "do", "done", "case", "esac"),
    *("{", "}", "!", "[[", "function", "select", "xargs", "parallel", "shift"),
)


def instead(line: str, *, command: bool) -> str:
    """Say which list of words is meant by one text, as a command or as further arguments."""
    line = line.strip()
    words = _split(line) if command else _words(line)
    if not command:
        bare = "; no shell reads them" if _needs_shell(line) else ""
        return f"such as {listed(words or ['--name', 'value'])}{bare}"
    env, program = _assigned(words)
    if program and (wrong := [one for pair in env.items() for one in variables.wrong(*pair)]):
        return f"such as {listed(program)}; in trial.env {wrong[0]}"
    if env and program:
        named = ", ".join(f"{name}: {_as_yaml(value)}" for name, value in env.items())
        return f"such as {listed(program)} with {{{named}}} in trial.env"
    if words:
        return f"such as {listed(words)}"
    far = f"; a shell's line is [sh, -c, TEXT, sh], with {_PARAMETERS} in it for the parameters"
    return f"such as {listed(_EXAMPLE)}{far if _needs_shell(line) else ''}"


def notes(command: Sequence[str], *, appended: bool) -> Iterator[str]:
    """Say what will not happen as it is written: of a command, and of parameters behind it."""
    if not command:
        return
    first = command[0].split()
    if len(first) > 1 and re.fullmatch(r"[\w./-]+", first[0]):
        words = [*first, *command[1:]] if len(command) > 1 else _split(command[0]) or first
        yield f"{shown(command[0])} is one word, the name of a program{_better(words)}"
    if _ASSIGNED.fullmatch(command[0]):
        name = shown(variables.masked(command[0]))
        yield f"{name} is the name of a program here; variables belong in trial.env"
    if appended:
        yield from _unused(command)


def listed(words: Sequence[str]) -> str:
    """Write words as a list in YAML."""
    return f"[{', '.join(map(_as_yaml, words))}]"


def _unused(command: Sequence[str]) -> Iterator[str]:
    """Say that a shell's text drops the parameters that are appended, or the first of them."""
    at = _text_at(command)
    if at is None:
        return
    text, behind = command[at], command[at + 1 :]
    if not _uses(text):
        told = _with_parameters(text) if len(text) <= _LONG_LINE else ""
        yield (
            f"parameters are appended, but {shown(text)} does not use them, as {_PARAMETERS} or "
            f"${{params.NAME}} would{_better([*command[:at], told, 'sh'] if told else [])}"
        )
    elif not behind and not re.search(r"\$\{?0", text) and not _TOLD.search(text):
        yield (
            f"the first parameter becomes $0 of {shown(text)}, which {_PARAMETERS} leaves out"
            f"{_better([*command, 'sh'])}"
        )


def _better(words: Sequence[str]) -> str:
    """Show what to write, unless it is nothing or long."""
    short = words and sum(map(len, words)) <= _LONG_LINE
    return f": write {listed(words)}" if short else ""


def _text_at(command: Sequence[str]) -> int | None:
    """Find the text that a command has a shell run."""
    shells = (n for n, word in enumerate(command) if word.rpartition("/")[2] in _SHELLS)
    start = next(shells, len(command))
    if start > 0 and not (_ASSIGNED.fullmatch(command[0]) or command[0] in _WRAPPERS):
        return None
    for at in range(start + 1, len(command) - 1):
        if _TAKES_TEXT.fullmatch(command[at]):
            return at + 1
        if not re.match(r"[-+]", command[at]) and not re.fullmatch(r"[-+]\w*o", command[at - 1]):
            return None
    return None


def _needs_shell(line: str) -> bool:
    return bool(_SHELL.search(_IN_QUOTES.sub(_read_in_quotes, line)))


def _read_in_quotes(found: re.Match[str]) -> str:
    """Give what a shell makes something of within double quotes; within others it is nothing."""
    return "".join(re.findall(r"\$\{?|`", found[0])) if found[0][0] == '"' else ""


def _uses(text: str) -> bool:
    """Say whether a shell's text does something with the parameters."""
    return bool(_TOLD.search(text) or _BEHIND.search(re.sub(r"'[^']*'", "", text)))


def _split(line: str) -> list[str]:
    """Take a line apart as a shell does, or have one run it; nothing if neither is certain."""
    words = _words(line)
    if words and _needs_shell(line):
        shell = "bash" if _NEEDS_BASH.search(line) else "sh"
        if "${params." in line:
            return [shell, "-c", line]
        text = line if _uses(line) else _with_parameters(line)
        return [shell, "-c", text, shell] if text else []
    at = _text_at(words)
    if at is None or _uses(words[at]):
        return words
    text = _with_parameters(words[at])
    return [*words[:at], text, *(words[at + 1 :] or ["sh"])] if text else []


def _words(line: str) -> list[str]:
    """Take a line apart; nothing if it is long, or cannot be taken apart."""
    if len(line) > _LONG_LINE or not re.sub(r"[\t\n]", " ", line).isprintable():
        return []
    try:
        return shlex.split(line)
    except ValueError:  # a quotation without its end
        return []


def _with_parameters(line: str) -> str:
    """Put the parameters behind the words of a line's one program; nothing if it is unclear."""
    programs, words = list[list[re.Match[str]]](), list[re.Match[str]]()
    target = False
    for part in _PART.finditer(line):
        if part["other"]:
            return ""
        if part["word"] and not target:
            words.append(part)
        if part["end"]:
            programs, words = [*programs, words], []
        target = bool(part["redirected"])
    found = [one for one in map(_program, [*programs, words]) if one]
    if len(found) != 1 or found[0][0][0] in _TOO_MUCH or re.search(r"\bset\s+--", line):
        return ""
    if _text_at([word[0] for word in found[0]]) is not None:
        return ""
    end = found[0][-1].end()
    return f"{line[:end]} {_PARAMETERS}{line[end:]}"


def _program(words: list[re.Match[str]]) -> list[re.Match[str]]:
    """Give the words of a command from its name on; nothing if it is only beside the program."""
    start = next(
        (n for n, word in enumerate(words) if not _ASSIGNED.fullmatch(word[0])), len(words)
    )
    name = words[start : start + 2]
    beside = name and (name[0][0] in _BESIDE or [one[0] for one in name] == ["conda", "activate"])
    return [] if beside else words[start:]


def _assigned(words: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Part variables that are set in front of a program from it."""
    env = dict[str, str]()
    for at, word in enumerate(words):
        if not (found := _ASSIGNED.fullmatch(word)):
            return env, list(words[at:])
        env[found["name"]] = found["value"]
    return env, []


def _as_yaml(word: str) -> str:
    if _PLAIN.fullmatch(word) and word.lower() not in _NO_TEXT:
        return word
    if '"' in word and "'" not in word and "\n" not in word:
        return f"'{word}'"
    return json.dumps(word, ensure_ascii=False)
