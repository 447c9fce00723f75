"""Paths of a Deployment's pod template, as the API server tells them → those of the ``JobQueue`` that it was made from."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from rivermill_operator.model.template import LIST_KEYS
from rivermill_operator.model.template_types import type_as_written

_PATH = re.compile(r"(?<![\w.])\.?spec\.template((?:\.[A-Za-z]\w*|\[[^\]]*\])+)")
_STEP = re.compile(r"\.\w+|\[[^\]]*\]")


def name_as_written(text: str, made: Any, given: Any) -> str:
    """Name each field of a pod template as it stands in the ``JobQueue``; those that are the operator's own stay as they are.

    Args:
        text: what the API server said of a Deployment.
        made: the Deployment's pod template.
        given: ``spec.worker.template``, which was laid over the operator's.
    """
    text = type_as_written(text, given)
    return _PATH.sub(lambda path: _written(path[1], made, given) or path[0], text)


def _written(steps: str, made: Any, given: Any) -> str | None:
    path, key = "spec.worker.template", ""
    for step in _STEP.findall(steps):
        if isinstance(made, list):
            found = _item(step[1:-1], LIST_KEYS.get(key), made, given)
            if found is None:
                return None
            place, made, given = found
            path += f"[{place}]"
            continue
        key = step.strip(".[]")
        made, given = _value(made, key), _value(given, key)
        if made is not None and given is None:
            # Every container of the operator's own has the image of the spec.
            return "spec.worker.image" if key == "image" else None
        path += step
    return path


def _value(parent: Any, key: str) -> Any:
    return parent.get(key) if isinstance(parent, Mapping) else None


def _item(chosen: str, by: str | None, made: Sequence[Any], given: Any) -> tuple[int, Any, Any] | None:
    """Where an item stands in the template that was given, and the item as it was made and given.

    Args:
        chosen: its index in ``made``, or ``name="worker"``.
        by: the key by which lists of this kind are merged; any other list is replaced whole.
        made: the list as it was made.
        given: the same of the template, if it has one.
    """
    if not isinstance(given, list):
        return None
    if chosen.isdecimal():
        place = int(chosen)
        item = made[place] if place < len(made) else None
    else:
        item = next((each for each in made if by and f'{by}="{_value(each, by)}"' in chosen), None)
    if by is None:
        return (place, item, given[place]) if chosen.isdecimal() and place < len(given) else None
    name = _value(item, by)
    places = [index for index, each in enumerate(given) if name is not None and _value(each, by) == name]
    return (places[-1], item, given[places[-1]]) if places else None
