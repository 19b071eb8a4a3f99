"""What a recipe says of the Hugging Face Hub."""

from pydantic import Field, field_validator

from recllm.config.section import Section


class HubSection(Section):
    """Where `recllm push` puts the run's model; nothing that a stage makes depends on it."""

    repo: str = Field(description="user/name")
    private: bool = Field(default=False, description="of a repository that push creates")

    @field_validator("repo")
    @classmethod
    def _repo_is_a_hub_id(cls, repo: str) -> str:
        from huggingface_hub.errors import HFValidationError
        from huggingface_hub.utils import validate_repo_id

        try:
            validate_repo_id(repo)
        except HFValidationError as error:
            said = " ".join(str(error).split())
            raise ValueError(f"expected user/name on the Hub, found {repo!r}: {said}") from None
        if "/" not in repo:
            raise ValueError(f"expected user/name on the Hub, found {repo!r}, without a user")
        return repo
