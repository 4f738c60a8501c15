"""Output of customers' states in a savepoint, as JSON documents and as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flink_jobs.cli.output import out, table
from flink_jobs.cli.times import shown

if TYPE_CHECKING:
    from flink_jobs.flink.savepoints.stored_customer import StoredCustomer


def described(customer: StoredCustomer) -> dict[str, Any]:
    """Return a customer's state for output; for bytes that cannot be decoded, the problem."""
    from flink_jobs.core.state.codec import StateError

    row: dict[str, Any] = {
        "customer_id": customer.customer_id,
        "state_version": customer.version,
        "bytes": len(customer.blob),
        "written": shown(customer.written_ms),
    }
    try:
        state = customer.state()
    except StateError as error:
        return {**row, "problem": str(error)}
    return {
        **row,
        "transactions": state.seen_count,
        "first_seen": shown(state.first_seen_ms),
        "last_seen": shown(state.last_event_time_ms),
        "amounts": {
            currency: {"count": stats.count, "mean": stats.mean, "std": stats.std if stats.count > 1 else None}
            for currency, stats in state.amounts.items()
        },
        "categories": len(state.habits.keys),
        "hours_utc": list(state.hour_counts),
        "last_place": None
        if state.located_at_ms is None
        else {"at": shown(state.located_at_ms), "latitude": state.latitude, "longitude": state.longitude},
        "recent": [
            {"at": shown(time_ms), "surprise": round(surprise, 3), "times_the_usual_amount": round(multiple, 3)}
            for time_ms, surprise, multiple in zip(
                state.recent_times_ms, state.recent_surprises, state.recent_multiples, strict=True
            )
        ],
    }


def _amounts(row: dict[str, Any]) -> str:
    return ", ".join(
        f"{currency} {item['mean']:,.2f}"
        + (f" ± {item['std']:,.2f}" if item["std"] is not None else "")
        + f" ({item['count']})"
        for currency, item in row.get("amounts", {}).items()
    )


def print_savepoint(document: dict[str, Any]) -> None:
    """Print the configuration in a savepoint, and one line per customer."""
    config, customers = document["config"], document["shown"]
    versions = ", ".join(f"version {version}: {count:,}" for version, count in document["state_versions"].items())
    out.print(f"{document['customers']:,} customers" + (f" ({versions})" if versions else ""))
    if config is None:
        out.print("no control message has changed the configuration")
    else:
        out.print(
            f"configuration revision {config['revision']}: alpha {config['alpha']:g}, alert threshold "
            f"{config['alert_threshold']:g}, model {config['model_version'] or 'as started'}; --output json shows all"
        )
    if not customers:
        return
    out.print()
    cells = [
        [item["customer_id"], item["state_version"], item.get("transactions"), item.get("first_seen"),
         item.get("last_seen"), item.get("problem") or _amounts(item), item.get("categories"), item["bytes"]]
        for item in customers
    ]  # fmt: skip
    table(
        ["customer", "state", "transactions", "first seen", "last seen", "usual amounts", "categories", "bytes"], cells
    )
    if len(customers) < document["customers"]:
        out.print(f"... {document['customers'] - len(customers):,} more (--limit)")


def print_customers(rows: list[dict[str, Any]]) -> None:
    """Print the state of customers in full."""
    for row in rows:
        out.print(f"customer {row['customer_id']}: state version {row['state_version']}, {row['bytes']} bytes, "
                  f"written {row['written']}", markup=False, soft_wrap=True)  # fmt: skip
        if "problem" in row:
            out.print(f"cannot be decoded: {row['problem']}", markup=False, soft_wrap=True)
            continue
        place = row["last_place"]
        out.print(f"{row['transactions']} transactions from {row['first_seen']} to {row['last_seen']}, "
                  f"{row['categories']} categories", soft_wrap=True)  # fmt: skip
        out.print(f"usual amounts: {_amounts(row) or 'none'}", soft_wrap=True)
        out.print(
            "last place: "
            + ("none" if place is None else f"{place['latitude']:g}, {place['longitude']:g} at {place['at']}"),
            soft_wrap=True,
        )
        hours = " ".join(f"{hour:02}h:{count}" for hour, count in enumerate(row["hours_utc"]) if count)
        out.print(f"hours (UTC): {hours}\n", soft_wrap=True)
        columns = ["at", "surprise", "times_the_usual_amount"]
        table(
            ["recent transaction", "surprise", "times the usual amount"],
            [[item[name] for name in columns] for item in row["recent"]],
        )
