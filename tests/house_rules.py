"""The rules of the house, each a function from a module's tree to the lines that break it."""

import ast
import re
from collections.abc import Callable, Iterator

Complaints = Iterator[tuple[int, str]]
Rule = Callable[[ast.Module], Complaints]

SHORT_NAMES_ALLOWED = {"i", "j", "k"}
NUMBERS_ALLOWED = {0, 0.5, 1, 2, 3, 4, 10, 16, 100, 1000}
CONSTANT_NAME = re.compile(r"_?[A-Z][A-Z0-9_]*")
TYPE_NAME = re.compile(r"[A-Z][A-Za-z0-9]*")
NAMES_READ_BY_TOOLS = {"__all__", "pytestmark"}
COMMAND_LINE_PARSERS = {"argparse", "optparse", "getopt"}
WARNING_FILTERS = ("filterwarnings", "simplefilter", "catch_warnings")
BROAD_EXCEPTIONS = {"Exception", "BaseException"}
PROCESS_EXITS = {"sys.exit", "os._exit", "exit", "quit"}


def dotted_name(node: ast.AST | None) -> str:
    """`os.path.join` of an attribute chain, `print` of a name, the empty string of anything else."""
    if isinstance(node, ast.Attribute):
        return f"{dotted_name(node.value)}.{node.attr}".lstrip(".")
    return node.id if isinstance(node, ast.Name) else ""


def imported_names(node: ast.AST) -> list[str]:
    """`os.path` of both `import os.path` and `from os import path`."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []


def bound_names(node: ast.AST) -> list[str]:
    """The names a node gives to values: assignments, loops, arguments, imports, definitions."""
    match node:
        case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
            return [name]
        case ast.arg(arg=name) | ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            return [name]
        case ast.alias(name=name, asname=alias):
            return [alias or name]
        case ast.AsyncFunctionDef() | ast.ExceptHandler() | ast.MatchAs() | ast.MatchStar():
            return [node.name or ""]
        case ast.MatchMapping(rest=name):
            return [name or ""]
        case _:
            return []


def single_letter_names(tree: ast.Module) -> Complaints:
    for node in ast.walk(tree):
        for name in bound_names(node):
            if len(name.strip("_")) == 1 and name not in SHORT_NAMES_ALLOWED:
                yield node.lineno, f"single-letter name {name!r}; only i, j and k are allowed"


def assigned_names(statement: ast.stmt) -> list[str]:
    """The targets of an assignment, tuples taken apart; an empty name for a target that is none."""
    targets: list[ast.expr] = []
    if isinstance(statement, ast.Assign):
        for target in statement.targets:
            targets += target.elts if isinstance(target, ast.Tuple) else [target]
    elif isinstance(statement, ast.AnnAssign):
        targets = [statement.target]
    return [dotted_name(target) for target in targets]


def is_constant(statement: ast.stmt) -> bool:
    """An assignment to UPPER_CASE names only, or to a name that a tool reads."""
    names = assigned_names(statement)
    good = [name in NAMES_READ_BY_TOOLS or CONSTANT_NAME.fullmatch(name) for name in names]
    return bool(names) and all(good)


def is_named_type(statement: ast.stmt) -> bool:
    """`Waveform = NDArray[float32]`, `Callback = CFUNCTYPE(c_int)`: a type that is named."""
    match statement:
        case ast.Assign(targets=[ast.Name(id=name)], value=ast.Subscript() | ast.Call()):
            return TYPE_NAME.fullmatch(name) is not None
    return False


def is_typing_block(statement: ast.stmt) -> bool:
    """`if TYPE_CHECKING:` with imports only."""
    match statement:
        case ast.If(test=test, body=body, orelse=[]):
            imports = all(isinstance(inner, ast.Import | ast.ImportFrom) for inner in body)
            return imports and dotted_name(test).endswith("TYPE_CHECKING")
    return False


def is_main_guard(statement: ast.stmt) -> bool:
    """`if __name__ == "__main__":` with exactly one call below it."""
    match statement:
        case ast.If(test=test, body=[ast.Expr(value=ast.Call())], orelse=[]):
            return ast.unparse(test) == "__name__ == '__main__'"
    return False


def module_level_code(tree: ast.Module) -> Complaints:
    definitions = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    accepted = (is_constant, is_named_type, is_typing_block, is_main_guard)
    has_docstring = ast.get_docstring(tree, clean=False) is not None
    for statement in tree.body[1:] if has_docstring else tree.body:
        if not isinstance(statement, definitions) and not any(fits(statement) for fits in accepted):
            yield statement.lineno, "code or variable at module level; only UPPER_CASE constants"


def magic_numbers(tree: ast.Module) -> Complaints:
    """Signs do not count: -1 is 1 with a minus. Constants of a module or a class have names."""
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    scopes = [tree.body, *(node.body for node in classes)]
    constants = [statement for body in scopes for statement in body if is_constant(statement)]
    named = {id(node) for statement in constants for node in ast.walk(statement)}
    for node in ast.walk(tree):
        number = isinstance(node, ast.Constant) and type(node.value) in (int, float, complex)
        if number and id(node) not in named and node.value not in NUMBERS_ALLOWED:
            yield node.lineno, f"magic number {node.value}; a named constant, or configs/"


def command_line_parsers(tree: ast.Module) -> Complaints:
    for node in ast.walk(tree):
        if {name.split(".")[0] for name in imported_names(node)} & COMMAND_LINE_PARSERS:
            yield node.lineno, "argparse or its like; commands are composed by Hydra"


def os_path(tree: ast.Module) -> Complaints:
    for node in ast.walk(tree):
        imported = any(f"{name}.".startswith("os.path.") for name in imported_names(node))
        if imported or dotted_name(node) == "os.path":
            yield node.lineno, "os.path; use pathlib"


def silenced_warnings(tree: ast.Module) -> Complaints:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and dotted_name(node.func).endswith(WARNING_FILTERS):
            values = [*node.args, *(keyword.value for keyword in node.keywords)]
            texts = [str(value.value) for value in values if isinstance(value, ast.Constant)]
            if any(text.startswith("ignore") for text in texts):
                yield node.lineno, "a silenced warning; do what it asks for"


def caught_names(node: ast.AST) -> list[str]:
    """What an `except` or a `suppress(...)` catches; a bare `except` catches everything."""
    if isinstance(node, ast.Call) and dotted_name(node.func).endswith("suppress"):
        return [dotted_name(name) for name in node.args]
    match node:
        case ast.ExceptHandler(type=None):
            return ["BaseException"]
        case ast.ExceptHandler(type=ast.Tuple(elts=names)):
            return [dotted_name(name) for name in names]
        case ast.ExceptHandler(type=name):
            return [dotted_name(name)]
    return []


def broad_excepts(tree: ast.Module) -> Complaints:
    for node in ast.walk(tree):
        if {name.split(".")[-1] for name in caught_names(node)} & BROAD_EXCEPTIONS:
            yield node.lineno, "a broad except; catch what is expected"


def process_exits(tree: ast.Module) -> Complaints:
    """A command's `main` may end the process; what other code imports may not."""
    mains = [node for node in tree.body if getattr(node, "name", "") == "main"]
    in_main = {id(node) for main in mains for node in ast.walk(main)}
    for node in ast.walk(tree):
        raised = isinstance(node, ast.Raise) and any(
            getattr(part, "id", "") == "SystemExit" for part in ast.walk(node)
        )
        called = isinstance(node, ast.Call) and dotted_name(node.func) in PROCESS_EXITS
        imported = "sys.exit" in imported_names(node)
        if (raised or called or imported) and id(node) not in in_main:
            yield node.lineno, "ends the process; raise an error that says what to do"
