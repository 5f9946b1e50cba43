"""Migrations only add: API and workers of the release before keep working on the new tables.

What an old process still needs may be removed one release after nothing writes it any more; such
a migration is listed here with its reason.
"""

import ast
from pathlib import Path

import pytest

from services.core.migrations import ALEMBIC_INI

CREATED_FIRST = frozenset({"0001", "0002"})
"""No release ever ran between these two and those before them."""
ALLOWED: dict[tuple[str, str], str] = {
    ("0003", "drop_constraint"): "made anew by the next statement, wider by a column",
    ("0003", "create_unique_constraint"): "old processes write one value of the new column",
    ("0004", "execute"): "triggers on tables it made, and rows whose files had gone before",
    ("0004", "drop_index"): "made anew by the next statement, for fewer rows",
    ("0004", "create_index "): "the same index: unique among the rows that are in use, as before",
}
"""Revision and fault to the reason why no process that may still run stumbles over it."""

REMOVING = frozenset(
    {
        "drop_table",
        "drop_column",
        "drop_constraint",
        "drop_index",
        "rename_table",
        "alter_column",
        "execute",
    }
)
"""Of alembic's operations, those after which a statement of before may fail."""
NARROWING = frozenset({"create_check_constraint", "create_unique_constraint"})
"""Those that may refuse a row which a process of before writes."""

SCRIPTS = sorted((ALEMBIC_INI.parent / "alembic" / "versions").glob("*.py"))


def additive_scripts() -> list[Path]:
    return [path for path in SCRIPTS if path.name[:4] not in CREATED_FIRST]


@pytest.mark.parametrize("path", additive_scripts(), ids=lambda path: path.stem)
def test_an_upgrade_takes_nothing_away(path: Path) -> None:
    faults = faults_of(path.read_text())

    assert [fault for fault in faults if (path.name[:4], fault) not in ALLOWED] == []


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        ("op.drop_table('series')", "drop_table"),
        ("batch_op.drop_column('x')", "drop_column"),
        ("batch_op.alter_column('x', nullable=False)", "alter_column"),
        ("op.rename_table('a', 'b')", "rename_table"),
        ("op.add_column('series', sa.Column('x', sa.Text(), nullable=False))", "add_column x"),
        ("batch_op.add_column(sa.Column('x', sa.Text()))", ""),
        ("batch_op.add_column(sa.Column('x', sa.Text(), nullable=True))", ""),
        ("op.add_column('a', sa.Column('x', sa.Text(), nullable=False, server_default=''))", ""),
        ("op.create_index('i', 'series', ['x'], unique=True)", "create_index i"),
        ("op.create_index('i', 'series', ['x'], unique=False)", ""),
        ("op.create_unique_constraint('u', 'series', ['x'])", "create_unique_constraint"),
        ("op.create_table('new', sa.Column('x', sa.Text(), nullable=False))", ""),
    ],
)
def test_the_rule_sees(statement: str, fault: str) -> None:
    found = faults_of(f"def upgrade() -> None:\n    {statement}\n")

    assert found == ([fault] if fault else [])


def test_the_rule_sees_through_functions() -> None:
    script = "def upgrade() -> None:\n    _go()\n\ndef _go() -> None:\n    op.drop_table('a')\n"

    assert faults_of(script) == ["drop_table"]


def test_a_new_table_may_be_narrowed_at_once() -> None:
    script = (
        "def upgrade() -> None:\n"
        "    op.create_table('new', sa.Column('x', sa.Text()))\n"
        "    with op.batch_alter_table('new', schema=None) as batch_op:\n"
        "        batch_op.create_index('i', ['x'], unique=True)\n"
    )

    assert faults_of(script) == []


def faults_of(script: str) -> list[str]:
    """What a migration's upgrade does that a process of the release before may stumble over."""
    functions = {
        node.name: node for node in ast.parse(script).body if isinstance(node, ast.FunctionDef)
    }
    run = _reached_from("upgrade", functions)
    calls = [call for function in run for call in _calls(function)]
    new_tables = {_text(call.args[0]) for call in calls if _name(call) == "create_table"}
    own: set[ast.AST] = set()
    for block in (node for function in run for node in ast.walk(function)):
        if isinstance(block, ast.With) and _is_about(block.items[0].context_expr, new_tables):
            own.update(ast.walk(block))
    calls = [call for call in calls if call not in own]
    return [fault for call in calls if (fault := _fault(call, new_tables))]


def _reached_from(name: str, functions: dict[str, ast.FunctionDef]) -> list[ast.FunctionDef]:
    """A function and the script's own functions that it calls, directly or not."""
    reached: dict[str, ast.FunctionDef] = {}
    waiting = [name]
    while waiting:
        current = waiting.pop()
        if current in functions and current not in reached:
            reached[current] = functions[current]
            waiting += [
                call.func.id
                for call in _calls(functions[current])
                if isinstance(call.func, ast.Name)
            ]
    return list(reached.values())


def _fault(call: ast.Call, new_tables: set[str]) -> str | None:
    name = _name(call)
    if name in REMOVING or name in NARROWING:
        return name
    if name == "create_index" and _is_true(call, "unique"):
        is_new = len(call.args) > 2 and _text(call.args[1]) in new_tables
        return None if is_new else f"create_index {_text(call.args[0])}"
    if name == "add_column":
        column = call.args[-1]
        assert isinstance(column, ast.Call)
        keywords = {keyword.arg for keyword in column.keywords}
        if _is_false(column, "nullable") and "server_default" not in keywords:
            return f"add_column {_text(column.args[0])}"
    return None


def _calls(node: ast.AST) -> list[ast.Call]:
    return [found for found in ast.walk(node) if isinstance(found, ast.Call)]


def _name(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else ""


def _text(node: ast.AST) -> str:
    if isinstance(node, ast.Call):  # batch_op.f("name")
        return _text(node.args[0])
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _is_about(node: ast.AST, tables: set[str]) -> bool:
    return isinstance(node, ast.Call) and bool(node.args) and _text(node.args[0]) in tables


def _is_true(call: ast.Call, name: str) -> bool:
    return _constant(call, name) is True


def _is_false(call: ast.Call, name: str) -> bool:
    return _constant(call, name) is False


def _constant(call: ast.Call, name: str) -> object:
    values = (keyword.value for keyword in call.keywords if keyword.arg == name)
    value = next(values, None)
    return value.value if isinstance(value, ast.Constant) else None
