"""Sign-in over the wire."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from dashboard_api.auth.passwords import MAX_LENGTH
from dashboard_api.schemas import Body, Ms, Schema, example


class Role(StrEnum):
    """What a person may do; each role may do what the ones before it may."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMINISTRATOR = "administrator"

    @property
    def rank(self) -> int:
        """Return 0 for a viewer to 2 for an administrator."""
        return list(Role).index(self)


class SignIn(Body):
    """A name and its password."""

    model_config = Body.model_config | example(
        {"name": "admin", "password": "correct horse battery staple"}
    )

    name: Annotated[str, Field(min_length=1, max_length=64)]
    password: Annotated[str, Field(min_length=1, max_length=MAX_LENGTH)]


class NewPassword(Body):
    """A new password; ``current`` is needed where there is one, unless a link signed in."""

    model_config = Body.model_config | example({"password": "correct horse battery staple"})

    password: Annotated[str, Field(min_length=1, max_length=MAX_LENGTH)]
    current: Annotated[str, Field(min_length=1, max_length=MAX_LENGTH)] | None = None


class SignedUser(Schema):
    """Who is signed in."""

    name: str
    role: Role
    must_set_password: bool
    """The account has no password yet: only a sign-in link opens it."""


class Session(Schema):
    """A session; its cookie is ``estate_session``."""

    model_config = example(
        {
            "user": {"name": "admin", "role": "administrator", "must_set_password": True},
            "csrf": "9f2c",
            "expires_at": 1_763_043_200_000,
        }
    )

    user: SignedUser
    csrf: str
    """Send it as ``X-Estate-CSRF`` with every POST, PUT and DELETE."""
    expires_at: Ms
    """When it ends if nothing is asked until then."""
