"""How much of a log is held out: the options of splits that part it by shares."""

from pydantic import Field, model_validator

from recllm.data_prep.splits import Split

SHARES = ("valid_share", "test_share")


class SharedOut(Split):
    """Base of the splits that hold out shares of the log."""

    valid_share: float = Field(default=0.1, gt=0, lt=1, description="of the log, held out")
    test_share: float = Field(default=0.1, gt=0, lt=1, description="of the log, held out")

    @model_validator(mode="after")
    def _something_is_left(self) -> "SharedOut":
        if self.valid_share + self.test_share >= 1:
            raise ValueError(
                f"'valid_share' and 'test_share' must leave something to train on, found "
                f"{self.valid_share:g} and {self.test_share:g}"
            )
        return self
