"""Set the passwords and rights of a secured broker's accounts."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from kafka.admin import (
    ACL,
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    KafkaAdminClient,
    ResourcePattern,
    ResourcePatternFilter,
    ResourceType,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from flink_jobs.contracts.access import Grant, grants
from flink_jobs.contracts.topic_contracts import load_contracts
from flink_jobs.errors import UserError

_EVERYTHING = ResourcePatternFilter(ResourceType.ANY, None, ACLResourcePatternType.ANY)


def passwords(folder: Path, accounts: Iterable[str]) -> dict[str, str]:
    """Return the password of each account, from its file in ``folder``; one without a file gets a new password."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = {}
    for account in sorted(accounts):
        path = folder / account
        if not path.exists():
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(secrets.token_urlsafe(24))
        found[account] = path.read_text(encoding="utf-8").strip()
    return found


def grant_access(client: KafkaAdminClient, prefix: str, folder: Path) -> int:
    """Set every account's password and grant the rights of the contracts; return the number of rights.

    Args:
        client: an admin client of a super user.
        prefix: the topic prefix of the installation.
        folder: the folder of the password files.

    Raises:
        UserError: the broker refused a password or a right.
    """
    wanted = grants(load_contracts(prefix), prefix)
    logins = passwords(folder, {grant.account for grant in wanted})
    answers = client.alter_user_scram_credentials(
        [
            UserScramCredentialUpsertion(user, ScramMechanism.SCRAM_SHA_512, password)
            for user, password in logins.items()
        ]
    )
    # Rights that are no longer in the contracts are revoked.
    client.delete_acls([ACLFilter(None, "*", ACLOperation.ANY, ACLPermissionType.ANY, _EVERYTHING)])
    problems = [f"{user}: {problem}" for user, problem in answers.items() if problem]
    problems += [str(acl) for acl in client.create_acls([_acl(grant) for grant in wanted])["failed"]]
    if problems:
        raise UserError(
            f"the broker refused {problems[0]}", "see the broker's log; `streamflow down --wipe` starts empty"
        )
    return len(wanted)


def _acl(grant: Grant) -> ACL:
    pattern = ACLResourcePatternType.PREFIXED if grant.is_prefix else ACLResourcePatternType.LITERAL
    return ACL(
        principal=f"User:{grant.account}",
        host="*",
        operation=ACLOperation[grant.operation.upper()],
        permission_type=ACLPermissionType.ALLOW,
        resource_pattern=ResourcePattern(ResourceType[grant.resource.upper()], grant.name, pattern),
    )
