"""DAGs that differ in their schedules."""

from datetime import timedelta

import pendulum
from airflow.sdk import DAG, Asset
from airflow.timetables.assets import AssetOrTimeSchedule
from airflow.timetables.events import EventsTimetable
from airflow.timetables.interval import CronDataIntervalTimetable
from airflow.timetables.simple import NullTimetable
from airflow.timetables.trigger import CronTriggerTimetable

from airflow_provider_grokvideo.operators.grokvideo import GrokVideoGenerateOperator

BERLIN = pendulum.timezone("Europe/Berlin")


class Strange(NullTimetable):
    """A timetable that no plugin registers."""


SCHEDULES = {
    "hourly": "0 * * * *",
    "hourly_trigger": CronTriggerTimetable("0 * * * *", timezone="Europe/Berlin"),
    "weekly_delta": timedelta(days=7),
    "minutely": "* * * * *",
    "hourly_interval": CronDataIntervalTimetable("0 * * * *", timezone=BERLIN),
    "daily_interval": CronDataIntervalTimetable("0 0 * * *", timezone=BERLIN),
    "monthly_interval": CronDataIntervalTimetable("0 0 1 * *", timezone=BERLIN),
    "yearly_interval": CronDataIntervalTimetable("0 0 1 1 *", timezone=BERLIN),
    "events": EventsTimetable(
        [
            pendulum.datetime(2027, 1, 31, 22, tz="UTC"),
            pendulum.datetime(2027, 1, 31, 23, tz="UTC"),
            pendulum.datetime(2027, 2, 28, 22, tz="UTC"),
            pendulum.datetime(2027, 2, 28, 23, tz="UTC"),
        ]
    ),
    "strange": Strange(),
    "yearly": "@yearly",
    "monthly": "@monthly",
    "once": "@once",
    "continuous": "@continuous",
    "by_hand": None,
    "by_asset": [Asset("s3://bucket/prompts.csv")],
    "by_asset_or_daily": AssetOrTimeSchedule(
        timetable=CronTriggerTimetable("0 0 * * *", timezone="Europe/Berlin"), assets=[Asset("s3://bucket/b.csv")]
    ),
}
WITHIN = {
    "starts_late": {"start_date": pendulum.datetime(2027, 3, 21, tz=BERLIN)},
    "ends_early": {
        "start_date": pendulum.datetime(2026, 1, 1, tz=BERLIN),
        "end_date": pendulum.datetime(2027, 3, 9, 12, tz=BERLIN),
    },
    "no_start": {},
    "catches_up": {"start_date": pendulum.datetime(2026, 11, 1, tz=BERLIN), "catchup": True},
}


def clip() -> None:
    GrokVideoGenerateOperator(task_id="clip", prompt="A clock", duration=1)


for name, schedule in SCHEDULES.items():
    words = {"max_active_runs": 1} if name == "continuous" else {}
    with DAG(name, schedule=schedule, start_date=pendulum.datetime(2026, 1, 1, tz=BERLIN), **words):
        clip()
for name, words in WITHIN.items():
    with DAG(name, schedule="@daily", **words):
        clip()
