# SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
# SPDX-License-Identifier: GPL-2.0-only

"""Completions for bash and zsh, generated from the parsers of both programs.

``python -m tests.support.completions`` writes them, with any shtab since 1.7.  They are
generated in advance, since starting Python would cost 30 ms at each TAB.  `described` reads
a file back, for the comparison with the parsers.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
from typing import NamedTuple

from hv_kvp_daemon.cli.main import COMMANDS, build_parser
from hv_kvp_daemon.pools.directory import POOL_NAMES
from hv_kvp_daemon.service.options import OPTIONS, PROGRAM

FOLDER = os.path.join(
    os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "completions"
)
FILES = {
    ("hv-kvp", "bash"): "hv-kvp.bash",
    ("hv-kvp", "zsh"): "_hv-kvp",
    (PROGRAM, "bash"): f"{PROGRAM}.bash",
    (PROGRAM, "zsh"): f"_{PROGRAM}",
}

#: What completes an argument, by its metavar.
_CHOICES = {
    "POOL": list(POOL_NAMES.values()),
    "COMMAND": list(COMMANDS),
    "TRANSPORT": ["auto", "netlink", "chardev"],
}
_FUNCTIONS = {
    "KEY": {"bash": "_hv_kvp_keys", "zsh": "_hv_kvp_keys"},
    "IF": {"bash": "_hv_kvp_interfaces", "zsh": "_net_interfaces"},
    "GLOB": {"bash": "_hv_kvp_interfaces", "zsh": "_net_interfaces"},
}

# A key that `list` shows with an escape is not offered: the escape is not the key.
_PREAMBLES = {
    "bash": r"""
# The keys of the pool that the line names, else of the command's.  $1: what has been typed.
_hv_kvp_keys() {
  local pool= typed=${1//\\} key i
  local -a directory=()
  for ((i = 1; i < COMP_CWORD - 1; i++)); do
    case ${COMP_WORDS[i]} in
      --pool) pool=${COMP_WORDS[i + 1]} ;;
      --pool-dir) directory=(--pool-dir "${COMP_WORDS[i + 1]}") ;;
      set|append|delete) pool=${pool:-guest} ;;
    esac
  done
  case ${COMP_WORDS[COMP_CWORD - 1]} in
    set|append|delete) pool=${pool:-guest} ;;
  esac
  while IFS= read -r key; do
    [[ $key == "$typed"* && $key != *\\* ]] && printf '%q\n' "$key"
  done < <(hv-kvp list ${pool:+"$pool"} "${directory[@]}" 2>/dev/null |
    cut -f "$([[ $pool ]] && echo 1 || echo 2)")
}

_hv_kvp_interfaces() {
  local path
  for path in /sys/class/net/*; do
    [[ -d $path && ${path##*/} == "$1"* ]] && printf '%q\n' "${path##*/}"
  done
}
""",
    "zsh": r"""
# The keys of the pool that the line names, else of the command's.
_hv_kvp_keys() {
  local pool
  local -a directory lines
  integer i
  for ((i = 1; i < CURRENT; i++)); do
    case $words[i] in
      --pool) pool=$words[i+1] ;;
      --pool=*) pool=${words[i]#*=} ;;
      --pool-dir) directory=(--pool-dir $words[i+1]) ;;
      --pool-dir=*) directory=($words[i]) ;;
      set|append|delete) ((i == 1)) && pool=${pool:-guest} ;;
    esac
  done
  lines=("${(@f)$(hv-kvp list $pool $directory 2>/dev/null)}")
  [[ -n $pool ]] || lines=("${(@)lines#*$'\t'}")
  lines=("${(@)lines%%$'\t'*}")
  compadd -a -- lines
}
""",
}


class Described(NamedTuple):
    """Options, subcommands and choices by the name of the shell variable that has them."""

    options: dict[str, set[str]]
    commands: dict[str, set[str]]
    choices: dict[str, set[str]]


def parser_of(program: str) -> argparse.ArgumentParser:
    """Return the parser of a program, with the choices that the shells offer."""
    parser = build_parser() if program == "hv-kvp" else _daemon_parser()
    _add_choices(parser)
    return parser


def _daemon_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=PROGRAM, add_help=False)
    for option in OPTIONS:
        text = option.text.replace("\n", " ")
        if option.metavar:
            choices = list(option.choices) or None
            parser.add_argument(
                *option.spellings,
                action="append" if option.repeated else "store",
                help=text,
                metavar=option.metavar,
                choices=choices,
            )
        else:
            parser.add_argument(*option.spellings, help=text, action="store_true")
    return parser


def _add_choices(parser: argparse.ArgumentParser) -> None:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in dict.fromkeys(action.choices.values()):
                _add_choices(each)
        else:
            action.choices = _CHOICES.get(str(action.metavar), action.choices)


def expected(parser: argparse.ArgumentParser) -> Described:
    """Return what a file for this parser has to offer."""
    found = Described({}, {}, {})
    _describe(parser, f"_shtab_{_word(parser.prog)}", found)
    return found


def _word(text: str) -> str:
    return re.sub(r"\W", "_", text)


def _describe(parser: argparse.ArgumentParser, prefix: str, found: Described) -> None:
    found.options[prefix] = set(parser._option_string_actions)
    positionals = parser._get_positional_actions()
    for action in parser._actions:
        names = action.option_strings or [f"pos_{positionals.index(action)}"]
        if isinstance(action, argparse._SubParsersAction):
            found.commands[prefix] = set(action.choices)
            for name, each in action.choices.items():
                _describe(each, f"{prefix}_{_word(name)}", found)
        elif action.choices:
            for name in names:
                found.choices[f"{prefix}_{_word(name)}"] = set(action.choices)


def in_bash(text: str) -> Described:
    """Return what a file for bash offers."""
    lists = {
        name: set(shlex.split(words))
        for name, words in re.findall(r"^(\w+)=\((.*)\)$", text, re.MULTILINE)
    }

    def ending(end: str) -> dict[str, set[str]]:
        return {name.removesuffix(end): lists[name] for name in lists if name.endswith(end)}

    commands, choices = ending("_subparsers"), ending("_choices")
    for prefix, names in commands.items():
        # To shtab the subcommands are the choices of a positional.
        for name in [name for name, words in choices.items() if words == names]:
            if name.startswith(f"{prefix}_pos_"):
                del choices[name]
    return Described(ending("_option_strings"), commands, choices)


def in_zsh(text: str) -> Described:
    """Return what a file for zsh offers; the choices without the argument's name."""
    found = Described({}, {}, {})
    flags = re.MULTILINE | re.DOTALL
    for name, block in re.findall(r"^(\w+)_options=\(\n(.*?)^\)$", text, flags):
        specs = [line.strip() for line in block.splitlines()]
        heads = [spec.partition("[")[0] for spec in specs if not re.match(r'"[(*)]*:', spec)]
        found.options[name] = {
            word for head in heads for word in re.findall(r"(?<![\w-])--?\w[\w-]*", head)
        }
        for spec in specs:
            if words := re.search(r":\(([^()\\]*)\)\"$", spec):
                found.choices.setdefault(name, set()).update(words[1].split())
    for name, block in re.findall(r"^(\w+)_commands\(\) \{\n.*?\n(.*?)^  \)$", text, flags):
        if names := re.findall(r"^ +\"?([\w-]+):", block, re.MULTILINE):
            found.commands[name] = set(names)
    return found


def build(program: str, shell: str) -> str:
    """Return the completions of a program for one shell."""
    import shtab  # only who changes an option needs it

    kinds = {"DIR": shtab.DIRECTORY, "FILE": shtab.FILE, "SCRIPT": shtab.FILE, **_FUNCTIONS}
    parser = parser_of(program)
    pending = [parser]
    for each in pending:
        for action in each._actions:
            if isinstance(action, argparse._SubParsersAction):
                pending += dict.fromkeys(action.choices.values())
                continue
            if action.metavar == "loopback:PATH":
                action.metavar = "PATH"  # a colon ends the name of an argument for zsh
            if action.metavar in kinds:
                action.complete = kinds[str(action.metavar)]  # type: ignore[attr-defined]  # shtab's
    return str(shtab.complete(parser, shell, preamble=_PREAMBLES[shell])).rstrip() + "\n"


def main() -> None:
    os.makedirs(FOLDER, exist_ok=True)
    for (program, shell), name in FILES.items():
        with open(os.path.join(FOLDER, name), "w", encoding="utf-8") as file:
            file.write(build(program, shell))


if __name__ == "__main__":
    main()
