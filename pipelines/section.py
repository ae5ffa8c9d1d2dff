"""The base of every configuration section: strict, frozen, its docstrings are the help texts."""

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator


class Section(BaseModel):
    """One part of a pipeline file. An unknown key is an error; a field's docstring is its help."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_number_from_a_truth_value(cls, value: Any, info: ValidationInfo) -> Any:
        """pydantic takes true for 1, so that `lora_rank: true` would be a rank of 1."""
        if isinstance(value, bool) and cls.model_fields[str(info.field_name)].annotation is not bool:
            raise ValueError("true and false (also yes, no, on, off) are no value of this key")
        return value
