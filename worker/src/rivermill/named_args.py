"""SQL conditions with named arguments, as River's ``JobListParams.Where`` takes them, in PostgreSQL's numbered form. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from rivermill.errors import ValidationError

#: Quoted text is left as it is; an ``@`` behind another sign is part of an operator.
_TOKEN = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|(?<![@<&|!~])@([A-Za-z_]\w*)|(?<![\w$])\$\d+""", re.ASCII)


def number_args(condition: str, args: Mapping[str, Any], values: list[Any]) -> str:
    """The condition with ``$n`` in place of each ``@name``; the values are appended to ``values``, each once.

    Raises:
        ValidationError: a name has no value, a value no name, or a place is numbered already.
    """
    places: dict[str, int] = {}

    def place(match: re.Match[str]) -> str:
        name = match[1]
        if match[0].startswith("$"):
            raise ValidationError(f"where {match[0]}: write @name, and give its value in where_args")
        if name is None:
            return match[0]
        if name not in places:
            if name not in args:
                raise ValidationError(f"where @{name}: there is no {name!r} in where_args")
            values.append(args[name])
            places[name] = len(values)
        return f"${places[name]}"

    numbered = _TOKEN.sub(place, condition)
    unused = sorted(set(args) - set(places))
    if unused:
        raise ValidationError(f"where_args {', '.join(unused)}: there is no @{unused[0]} in where")
    return numbered
