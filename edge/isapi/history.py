"""What an access controller remembers: the paged search ``AcsEvent``."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from uuid import uuid4

from edge.isapi import times
from edge.isapi.access_event import AccessEvent, from_entry
from edge.isapi.client import AnswerError, IsapiClient
from edge.isapi.values import branch, text, whole

_PATH = "/ISAPI/AccessControl/AcsEvent?format=json"
#: Controllers hand out 30 entries a page at most.
PAGE = 30
#: A search that goes on for longer than this is not believed.
_MOST_PAGES = 10_000


async def search(
    client: IsapiClient, since: int, until: int, offset_min: int
) -> AsyncIterator[AccessEvent | None]:
    """Return the events of a stretch of the controller's time (ms), in its order, page by page.

    An entry that cannot be read is None. Raises :class:`LinkError`; what was returned before
    that holds.
    """
    identity, position = uuid4().hex, 0
    for _ in range(_MOST_PAGES):
        condition = {
            "searchID": identity,
            "searchResultPosition": position,
            "maxResults": PAGE,
            "major": 0,
            "minor": 0,
            "startTime": times.extended(since, offset_min),
            "endTime": times.extended(until, offset_min),
            "picEnable": False,
            "timeReverseOrder": False,
        }
        body = json.dumps({"AcsEventCond": condition})
        answer = await client.request("POST", _PATH, body, kind="application/json")
        found = branch(answer.content(), "AcsEvent")
        entries = branch(found, "InfoList")
        if found is None or not (entries is None or isinstance(entries, list)):
            raise AnswerError("an answer to a search that is none")
        for entry in entries or ():
            yield from_entry(entry, offset_min)
        position += len(entries or ())
        more = (text(branch(found, "responseStatusStrg")) or "").upper() == "MORE"
        total = whole(branch(found, "totalMatches"))
        # Some firmware says OK on every page: what counts then is the total.
        if not entries or (not more and (total is None or position >= total)):
            return
    raise AnswerError("a search without end")
