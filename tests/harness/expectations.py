# SPDX-License-Identifier: MIT
"""Whether a run is what its case expects: status, text, statistics, what it used."""
import ast
import json
import operator
import os
import re
import shlex

from .boot_case import DEFAULT_TIMEOUT_S, CaseError, lines

SHOWN_LINES = 40  # of each stream of a failed case

OPERATIONS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
              ast.Div: operator.truediv, ast.Eq: operator.eq, ast.NotEq: operator.ne,
              ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge}


def evaluate(node, stats):
    """The value of an expression over the statistics: dotted names, numbers, strings, + - * /."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        if node.id not in stats:
            raise CaseError(f"no '{node.id}' in the statistics")
        return stats[node.id]
    if isinstance(node, ast.Attribute):
        owner = evaluate(node.value, stats)
        if not isinstance(owner, dict) or node.attr not in owner:
            raise CaseError(f"no '{ast.unparse(node)}' in the statistics")
        return owner[node.attr]
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATIONS:
        return OPERATIONS[type(node.op)](evaluate(node.left, stats), evaluate(node.right, stats))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -evaluate(node.operand, stats)
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in OPERATIONS:
        return OPERATIONS[type(node.ops[0])](evaluate(node.left, stats),
                                             evaluate(node.comparators[0], stats))
    raise CaseError(f"not understood: '{ast.unparse(node)}'")


def failed_assertion(text, stats):
    """None when the comparison holds, else what it is about."""
    try:
        tree = ast.parse(text, mode="eval").body
        if not isinstance(tree, ast.Compare):
            raise CaseError("not a comparison")
        if evaluate(tree, stats) is True:
            return None
        left, right = (evaluate(side, stats) for side in (tree.left, tree.comparators[0]))
        return f"{text} does not hold: {left} against {right}"
    except (CaseError, SyntaxError, TypeError, ZeroDivisionError) as error:
        return f"{text}: {error}"


def offences(section, run, directory):
    """Everything in which a run is not what the case expects."""
    expected = section.getint("status", 0)
    if run.status is None:
        yield f"timeout after {section.getfloat('timeout', DEFAULT_TIMEOUT_S):g} s"
    elif run.status != expected:
        yield f"exit status {run.status}, expected {expected}"
    for stream, text in (("stdout", run.stdout), ("stderr", run.stderr)):
        for pattern in lines(section, stream):
            if not re.search(pattern, text, re.MULTILINE):
                yield f"{stream} has no match for: {pattern}"
    for pattern in lines(section, "not"):
        if re.search(pattern, run.stdout + run.stderr, re.MULTILINE):
            yield f"output has a match for: {pattern}"
    # A mistake of the user's is told in one line, nothing else.
    if expected == 2 and run.status == 2 and run.stderr and len(run.stderr.splitlines()) != 1:
        yield f"{len(run.stderr.splitlines())} lines of errors, expected one"
    if run.used:
        for assertion in lines(section, "limits"):
            offence = failed_assertion(assertion, run.used)
            if offence:
                yield offence
    if "json" in section:
        try:
            with open(os.path.join(directory, "stats.json"), encoding="utf-8") as file:
                stats = json.load(file)
        except (OSError, ValueError) as error:
            yield f"no statistics: {error}"
            return
        for assertion in lines(section, "json"):
            offence = failed_assertion(assertion, stats)
            if offence:
                yield offence


def memory_was_measured(directory):
    """False where the statistics of a run say that it was too quick, or its host too busy, for that."""
    try:
        with open(os.path.join(directory, "stats.json"), encoding="utf-8") as file:
            return json.load(file)["memory"]["missing"] is None
    except (OSError, ValueError, KeyError, TypeError):
        return True


def judge(section, command, run, directory, verbose):
    """What is wrong with a case that ran: a list, empty when it passed."""
    found = list(offences(section, run, directory))
    details = ["command: " + shlex.join(command)]
    details += [f"{name} | {line}" for name in ("stderr", "stdout")
                for line in getattr(run, name).splitlines()[-SHOWN_LINES:]]
    if found:
        return found + details
    if verbose:
        print("\n".join(f"        {line}" for line in details))
    return []
