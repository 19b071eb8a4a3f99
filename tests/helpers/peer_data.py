"""Tiny data in the formats of other projects: file names to their text."""

import json

MINIONEREC_HEADER = (
    "user_id,history_item_title,item_title,history_item_id,item_id,history_item_sid,item_sid\n"
)
MINIONEREC = {
    "Toys.train.csv": MINIONEREC_HEADER
    + "A1,\"['Top', 'Kite']\",Ball,\"[0, 1]\",2,\"['<a_1><b_2>', '<a_1><b_0>']\",<a_0><b_0>\n"
    + "A1,\"['Kite', 'Ball']\",Top,\"[1, 2]\",0,\"['<a_1><b_0>', '<a_0><b_0>']\",<a_1><b_2>\n",
    "Toys.valid.csv": MINIONEREC_HEADER
    + 'A1,"[\'Ball\', \'Top\']","Top, ""red""","[2, 0]",10,'
    + "\"['<a_0><b_0>', '<a_1><b_2>']\",<a_1><b_2>\n",
    "Toys.test.csv": MINIONEREC_HEADER
    + "A2,['Kite'],Ball,[1],2,['<a_1><b_0>'],<a_0><b_0>\n"
    + "A1,['Ball'],Kite,[2],1,['<a_0><b_0>'],<a_1><b_0>\n",
    "Toys.index.json": json.dumps(
        {
            "0": ["<a_1>", "<b_2>"],
            "1": ["<a_1>", "<b_0>"],
            "2": ["<a_0>", "<b_0>"],
            "10": ["<a_1>", "<b_2>"],
        }
    ),
    "Toys.item.json": json.dumps(
        {
            "0": {
                "title": "Top",
                "description": "['Turns.', ' For long ']",
                "brand": "Spin",
                "categories": ["Toys", "Small"],
            },
            "1": {"title": "Kite", "description": "[sic] flies", "brand": "", "categories": ""},
            "2": {"title": " Ball ", "description": "[]", "brand": None},
            "10": {"title": 'Top, "red"', "categories": float("nan")},
        }
    ),
    "Toys.info.txt": "<a_1><b_2>\tTop\t0\n<a_1><b_0>\tKite\t1\n<a_0><b_0>\tBall\t2\n"
    '<a_1><b_2>\tTop, "red"\t10\n',
}

LCREC = {
    "Toys.inter.json": json.dumps({"0": [0, 1, 2, 0], "7": [10, "2", 1], "none": []}),
    "Toys.item.json": MINIONEREC["Toys.item.json"],
    "Toys.index.json": MINIONEREC["Toys.index.json"],
}


def tallrec_prompt(liked: str, disliked: str, target: str, answer: str) -> dict[str, str]:
    """A row as TALLRec writes it."""
    return {
        "instruction": "Identify whether the user will like the target movie.",
        "input": f"User Preference: {liked}\nUser Unpreference: {disliked}\n"
        f"Whether the user will like the target {target}?",
        "output": answer,
    }


TALLREC = {
    "movie.valid.json": json.dumps(
        [
            tallrec_prompt(
                '"Dave (1993)", "Net, The (1995)"', '"Heat"', 'movie "Scream (1996)"', "No."
            ),
            tallrec_prompt("", '"Is this "it"?", "A"', 'movie "Dave (1993)"', "Yes."),
        ],
        indent=4,
    ),
    "movie.test.json": json.dumps(
        [
            tallrec_prompt(
                '"Emma" written by Jane Austen, "It" written by S. King, Jr.',
                "",
                'book "Emma"written byJane Austen',
                "Yes.",
            )
        ]
    ),
}

HUB = {
    "reviews.jsonl": '{"user_id": "a", "item_id": "x", "timestamp": 5}\n'
    '{"user_id": "b", "item_id": "y", "timestamp": 4}\n'
}
