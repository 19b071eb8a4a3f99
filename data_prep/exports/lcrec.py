"""LC-Rec's data (Zheng et al., 2024, arXiv:2311.09049): users' sequences in JSON."""

from pathlib import Path

from recllm.config.schema import Recipe
from recllm.data_prep.exports import Export
from recllm.data_prep.exports._item_files import write_item_files, write_json
from recllm.data_prep.exports._prepared import Prepared
from recllm.errors import UserError

#: LC-Rec tests on a user's last item and validates on the one before.
SHORTEST = 3


class Lcrec(Export):
    """`NAME.inter.json`, `NAME.item.json`, `NAME.index.json` in one folder called NAME.

    Histories are whole: LC-Rec cuts them itself (`--max_his_len`), and splits by leave-one-out.
    """

    def check(self, recipe: Recipe) -> None:
        """Refuse any other split.

        Raises:
            UserError: the recipe's is not leave-one-out.
        """
        if recipe.data.split.name != "leave-one-out":
            raise UserError(
                f"LC-Rec splits by leave-one-out itself, but data.split is "
                f"{recipe.data.split.name}; set it to leave_one_out, or choose another format"
            )

    def write(self, prepared: Prepared, name: str, out: Path) -> dict[str, int]:
        """See `Export.write`; leaves out users with fewer than three items, and counts them."""
        sequences = prepared.sequences
        users: dict[str, list[int]] = {}
        for user, start, end in zip(
            sequences.user_ids, sequences.offsets[:-1], sequences.offsets[1:], strict=True
        ):
            if end - start >= SHORTEST:
                users[user] = [prepared.numbers[item] for item in sequences.items[start:end]]
        write_json(out / f"{name}.inter.json", users)
        write_item_files(prepared, name, out)
        return {
            "users": len(users),
            "interactions": sum(map(len, users.values())),
            "items": len(prepared.items),
            "users_too_short": len(sequences) - len(users),
        }
