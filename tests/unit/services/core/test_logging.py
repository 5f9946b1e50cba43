import json
import logging
import warnings
from collections.abc import Iterator

import pytest
import structlog

from services.core.errors import QueueUnavailableError
from services.core.logging import WITHHELD, configure_logging, get_logger, log_context


@pytest.fixture(autouse=True)
def _restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    level = root.level
    with warnings.catch_warnings():
        yield
    root.handlers = []
    root.level = level
    logging.getLogger("pydicom").setLevel(logging.NOTSET)
    structlog.reset_defaults()


def read_lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, str]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def fail_with(secret: str) -> None:
    raise RuntimeError(f"broke after {len(secret)}")


class TestConfigureLogging:
    def test_lines_are_json_with_their_context(self, capsys: pytest.CaptureFixture[str]) -> None:
        configure_logging("INFO")

        with log_context(correlation_id="abc", job_id="1"):
            get_logger("ours").info("hello", answer=42)
        get_logger("ours").info("after")

        inside, after = read_lines(capsys)
        assert inside["event"] == "hello"
        assert inside["correlation_id"] == "abc"
        assert inside["answer"] == 42
        assert inside["level"] == "info"
        assert inside["logger"] == "ours"
        assert "correlation_id" not in after

    @pytest.mark.parametrize("name", ["uvicorn.access", "celery.worker", "sqlalchemy.engine"])
    def test_other_loggers_speak_the_same_way(
        self, name: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        configure_logging("INFO")

        with log_context(correlation_id="abc"):
            logging.getLogger(name).warning("hello %s", "there")

        (line,) = read_lines(capsys)
        assert line["event"] == "hello there"
        assert line["correlation_id"] == "abc"

    def test_handlers_of_others_are_replaced(self, capsys: pytest.CaptureFixture[str]) -> None:
        logging.getLogger("uvicorn").addHandler(logging.StreamHandler())
        configure_logging("INFO")

        logging.getLogger("uvicorn").warning("once")

        assert [line["event"] for line in read_lines(capsys)] == ["once"]

    def test_patient_identifiers_are_withheld(self, capsys: pytest.CaptureFixture[str]) -> None:
        configure_logging("INFO")

        get_logger("ours").info("read", patient_name="Doe^Jane", file_name="doe.dcm")

        (line,) = read_lines(capsys)
        assert line["patient_name"] == WITHHELD
        assert line["file_name"] == WITHHELD

    def test_a_traceback_shows_no_values(self, capsys: pytest.CaptureFixture[str]) -> None:
        configure_logging("INFO")

        try:
            fail_with("Doe^Jane")
        except RuntimeError:
            get_logger("ours").exception("job broke")
            logging.getLogger("theirs").exception("task broke")

        ours, theirs = read_lines(capsys)
        for line in (ours, theirs):
            # The kind of exception is there, its words are not: others' may quote anything.
            assert "RuntimeError" in json.dumps(line["exception"])
            assert "broke after 8" not in json.dumps(line["exception"])
            # The frame that holds the name is there, its variables are not.
            assert "fail_with" in json.dumps(line["exception"])
            assert "Jane" not in json.dumps(line)

    @pytest.mark.parametrize(
        ("error", "words"),
        [
            (QueueUnavailableError("the broker is away"), "the broker is away"),
            (FileNotFoundError(2, "No such file or directory", "doe.dcm"), "No such file or"),
            (ValueError("Doe^Jane"), WITHHELD),
            (OSError("Doe^Jane"), WITHHELD),
            (ExceptionGroup("Doe^Jane", [ValueError("Doe^Jane")]), WITHHELD),
        ],
    )
    def test_an_error_says_its_own_words_or_none(
        self, error: Exception, words: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        configure_logging("INFO")

        try:
            try:
                raise KeyError("Doe^Jane")  # noqa: TRY301  # an error before the error
            except KeyError:
                error.add_note("Doe^Jane")
                raise error from None
        except Exception:  # noqa: BLE001  # the point of it
            get_logger("ours").exception("job broke")

        (line,) = read_lines(capsys)
        assert words in json.dumps(line["exception"])
        assert "Jane" not in json.dumps(line)
        assert "doe.dcm" not in json.dumps(line)

    def test_celery_does_not_quote_exceptions(self, capsys: pytest.CaptureFixture[str]) -> None:
        configure_logging("INFO")

        facts = {"name": "contour_job.run", "exc": "ValueError('Doe^Jane')", "traceback": "Jane"}
        logging.getLogger("celery.app.trace").error("Task %(name)s raised: %(exc)s", facts)

        (line,) = read_lines(capsys)
        assert line["event"] == f"Task contour_job.run raised: {WITHHELD}"

    def test_warnings_are_told_without_their_words(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        warnings.simplefilter("default")
        configure_logging("INFO")

        warnings.warn("Invalid value 'Doe^Jane'", UserWarning, stacklevel=1)

        (line,) = read_lines(capsys)
        assert (line["event"], line["category"]) == ("python warning", "UserWarning")
        assert "test_logging.py" in line["source"]
        assert "Jane" not in json.dumps(line)

    def test_pydicom_is_silent_because_it_quotes_values(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        configure_logging("INFO")

        logging.getLogger("pydicom").error("Invalid value 'Doe^Jane'")

        assert read_lines(capsys) == []

    def test_less_severe_lines_are_left_out(self, capsys: pytest.CaptureFixture[str]) -> None:
        configure_logging("INFO")

        get_logger("ours").debug("detail")

        assert read_lines(capsys) == []
