"""The base of every configuration section: strict, frozen, its docstrings are the help texts."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """One part of a pipeline file. An unknown key is an error; a field's docstring is its help."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)
