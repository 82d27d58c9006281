"""Files as other programs write them, built by hand from the shapes that they publish.

Each says where its shape was read. Texts and numbers are ours.
"""

from __future__ import annotations

import json
import math
from typing import Any

Shape = dict[str, Any]


def _token(id: str, text: str, logprob: float, *children: Shape, done: str | None = None) -> Shape:
    return {
        "id": id, "text": text, "logprob": logprob, "prob": math.exp(logprob),
        "branchFinished": done, "children": list(children),
    }  # fmt: skip


# vgel/logitloom @3a6be56: `SerializedTree` in save-load.ts (isLogitLoomTreeVersion, modelName,
# modelSettings of kind "chat" or "base", roots) and `Token` in logit-loom.ts (id, text, logprob,
# prob, branchFinished, children). index.tsx shows broken characters as `\xNN` in a token's text.
LOGITLOOM: Shape = {
    "isLogitLoomTreeVersion": "logit-loom-tree-v1",
    "modelName": "some-base-model",
    "modelSettings": {"kind": "base", "prompt": "The fox", "prefill": " was"},
    "roots": [
        _token("a1", " red", -0.5, _token("a2", " and", -0.25, _token("a3", " \n", -1.5))),
        _token("b1", " old", -1.25, _token("b2", "\\xe2\\x80", -2.0, _token(
            "b3", "\\x94", -0.125, _token("b4", ".", -0.5, done="stop"),
            _token("b5", " he", -1.0)))),
    ],
    "addedByANewerVersion": {"kept": True},
}  # fmt: skip

# socketteer/loom @91ca920: data/loom_demo.json (root, chapters, tags, model_responses,
# selected_node_id; per node id, text, children, parent_id, open, visited, mutable, tags, meta,
# generation, chapter_id) and examples/openAI_formatted_response.json with gpt.py (completions with
# tokens of generatedToken, position, counterfactuals; the prompt may be echoed).
PYLOOM: Shape = {
    "root": {
        "id": "r", "mutable": False, "visited": True, "text": "", "open": True,
        "children": [
            {
                "id": "n1", "parent_id": "r", "text": "Once upon a time", "open": True,
                "visited": True, "chapter_id": "c1", "tags": ["bookmark", "canonical"],
                "meta": {"source": "prompt", "modified": True},
                "text_attributes": {"nav_preview": "the beginning"},
                "children": [
                    {
                        "id": "n2", "parent_id": "n1", "text": " a fox", "open": False,
                        "visited": True, "mutable": True,
                        "generation": {"id": "cmpl-1", "index": 0},
                        "meta": {"creation_timestamp": "2021-09-16-21.55.18", "source": "AI",
                                 "modified": False},
                        "children": [
                            {"id": "n4", "parent_id": "n2", "text": " ran.", "children": [],
                             "open": True, "meta": {"source": "AI"}},
                        ],
                    },
                    {
                        "id": "n3", "parent_id": "n1", "text": " an owl", "open": True,
                        "visited": False, "generation": {"id": "cmpl-1", "index": 1},
                        "meta": {"source": "AI"}, "children": [],
                    },
                ],
            },
        ],
    },
    "chapters": {"c1": {"id": "c1", "root_id": "n1", "title": "One"}},
    "tags": {"bookmark": {"name": "bookmark", "scope": "ancestry", "toggle_key": "b"}},
    "memories": {},
    "generation_settings": {"num_continuations": 4, "temperature": 0.9},
    "selected_node_id": "n2",
    "model_responses": {
        "cmpl-1": {
            "id": "cmpl-1", "model": "curie:2020-05-03", "timestamp": "2021-09-16-21.55.18",
            "prompt": {"text": "Once upon a time", "tokens": None},
            "completions": [
                {
                    "text": " a fox", "finishReason": "length",
                    "tokens": [
                        {"generatedToken": {"token": " time", "logprob": None},
                         "position": {"start": 0, "end": 5}, "counterfactuals": None},
                        {"generatedToken": {"token": " a", "logprob": -0.5},
                         "position": {"start": 5, "end": 7},
                         "counterfactuals": {" a": -0.5, " the": -1.25}},
                        {"generatedToken": {"token": " fox", "logprob": -3.5},
                         "position": {"start": 7, "end": 11}, "counterfactuals": None},
                    ],
                },
                {"text": " an owl", "finishReason": "length", "tokens": []},
            ],
        }
    },
}  # fmt: skip

# The same program's simple export: texts and children only (model.py, save_simple_tree).
PYLOOM_SIMPLE: Shape = {
    "text": "Once", "children": [{"text": " more", "children": []}, {"text": " less",
                                                                   "children": []}],
}  # fmt: skip

# cosmicoptima/loom @afbb351: `NoteState` and `Node` in common.ts; "loom:export" in main.ts writes
# one note's state as JSON. Its pull request 36 adds `author`.
LOOMSIDIAN: Shape = {
    "current": "2c1f6a52-0000-4000-8000-000000000003",
    "hoisted": ["2c1f6a52-0000-4000-8000-000000000001"],
    "searchTerm": "fox",
    "nodes": {
        "2c1f6a52-0000-4000-8000-000000000001": {
            "text": "The fox", "parentId": None, "collapsed": False, "unread": False,
            "bookmarked": True, "lastVisited": 1700000000000, "searchResultState": "result",
        },
        "2c1f6a52-0000-4000-8000-000000000002": {
            "text": " ran", "parentId": "2c1f6a52-0000-4000-8000-000000000001",
            "collapsed": True, "unread": False, "bookmarked": False, "searchResultState": None,
        },
        "2c1f6a52-0000-4000-8000-000000000003": {
            "text": " sat", "parentId": "2c1f6a52-0000-4000-8000-000000000001",
            "collapsed": False, "unread": True, "bookmarked": False, "searchResultState": None,
            "author": "davinci", "somethingNew": [1, 2],
        },
    },
    "generating": None,
}  # fmt: skip

# lmg-anon/mikupad @b2a2a3e: exportSession in mikupad.html turns every property of a session into a
# JSON text; defaultPresets has the properties, llamaCppCompletion's yieldTokens the chunks.
MIKUPAD_KEY = "sk-do-not-keep-me"
MIKUPAD: Shape = {
    name: json.dumps(value)
    for name, value in {
        "name": "a tale",
        "endpoint": "http://192.168.1.7:8080",
        "endpointAPI": 0,
        "endpointAPIKey": MIKUPAD_KEY,
        "endpointModel": "some-model",
        "temperature": 0.7,
        "memoryTokens": {"prefix": "", "text": "He is a fox.", "suffix": ""},
        "authorNoteTokens": {"prefix": "", "text": "", "suffix": ""},
        "prompt": [
            {"type": "user", "content": "Once"},
            {"content": " upon", "prob": 0.5, "completion_probabilities": [
                {"content": " upon", "probs": [{"tok_str": " upon", "prob": 0.5},
                                               {"tok_str": " there", "prob": 0.25}]}]},
            {"content": " a", "prob": 0.75, "completion_probabilities": [
                {"content": " a", "probs": [{"tok_str": " a", "prob": 0.75},
                                            {"tok_str": " the", "prob": 0}]}]},
            {"content": " day", "prob": -1},
            {"type": "user", "content": ", he"},
        ],
    }.items()
}  # fmt: skip

# bonsai, as FergusFettes/basemode-loom @7a4bada reads it (loom_formats.py and its test): a list of
# nodes with parentIds, text, createdAt, model, hidden, bookmarked, rating; research of this project
# adds childrenIds, logprobs and edges.
BONSAI: Shape = {
    "nodes": [
        {"id": "root", "parentIds": [], "childrenIds": ["a", "b"], "text": "Seed",
         "createdAt": "2024-01-02T03:04:05Z"},
        {"id": "a", "parentIds": ["root"], "childrenIds": [], "text": "Seed alpha",
         "createdAt": "later", "model": "model-a", "bookmarked": True, "rating": 4,
         "logprobs": [{"token": " al", "logprob": -0.5}, {"token": "pha", "logprob": -0.25}]},
        {"id": "b", "parentIds": ["root", "a"], "text": "Seed beta", "model": "model-b",
         "hidden": True},
    ],
    "edges": [{"source": "root", "target": "a"}],
}  # fmt: skip

# exoloom, as transkatgirl/Tapestry-Loom's migration-assistant reads it (src/exoloom/mod.rs): read
# for the names of the fields only.
EXOLOOM: Shape = {
    "loomType": "Exoloom", "version": "0.3", "schemaVersion": 1,
    "tree": {
        "title": "Foxes", "description": "a test", "createdAt": "2025-01-02T03:04:05Z",
        "rootNodeId": 1,
        "nodes": {
            "1": {"content": "The fox", "authorType": "USER", "authorName": "me", "parentId": None,
                  "childrenIds": [3, 2], "createdAt": "2025-01-02T03:04:05Z"},
            "2": {"content": " ran", "authorType": "LLM", "authorName": "model-a", "parentId": 1,
                  "childrenIds": []},
            "3": {"content": " sat", "authorType": "LLM", "authorName": None, "parentId": 1,
                  "childrenIds": [], "createdAt": None},
        },
    },
    "lens": {"bookmarks": [{"nodeId": 2}], "prunedNodes": [{"nodeId": 3}]},
}  # fmt: skip

# mimi10v3/miniloom @f42d482: saveFile in src/file-manager.js, serialize in src/model.js (nodeStore
# of id, timestamp, type, patch, summary, rating, read, parent, children, model, ...); patches are
# those of diff-match-patch, which count UTF-16 code units.
MINILOOM: Shape = {
    "loomTree": {
        "nodeStore": {
            "1": {"id": "1", "type": "root", "patch": "", "summary": "Root Node", "parent": None,
                  "timestamp": 1700000000000, "rating": None, "read": False, "children": ["2"]},
            "2": {"id": "2", "type": "user", "parent": "1", "summary": "A fox", "rating": None,
                  "timestamp": 1700000001000, "read": True, "children": ["3", "4"],
                  "patch": [{"diffs": [[1, "The 🦊 ran"]], "start1": 0, "start2": 0, "length1": 0,
                             "length2": 10}]},
            "3": {"id": "3", "type": "gen", "parent": "2", "summary": "Away", "rating": True,
                  "timestamp": 1700000002000, "read": False, "children": [], "model": "model-a",
                  "patch": [{"diffs": [[0, " ran"], [1, " away."]], "start1": 6, "start2": 6,
                             "length1": 4, "length2": 10}]},
            "4": {"id": "4", "type": "rewrite", "parent": "2", "summary": "Sat", "rating": False,
                  "timestamp": 1700000003000, "read": True, "children": [], "model": "model-a",
                  "patch": [{"diffs": [[0, "🦊 "], [-1, "ran"], [1, "sat"]], "start1": 4,
                             "start2": 4, "length1": 6, "length2": 6}]},
        }
    },
    "focus": {"id": "3"},
}  # fmt: skip

# FergusFettes/basemode-loom @7a4bada: _serialize_loom_json in src/basemode_loom/cli.py.
BASEMODE: Shape = {
    "version": 1,
    "nodes": [
        {"id": "k", "parent_id": None, "tree_id": "t", "kind": "context", "text": "A fable.",
         "context_id": None, "model": None, "checked_out": False, "created_at": "", "metadata": {}},
        {"id": "a", "parent_id": None, "tree_id": "t", "kind": "text", "text": "Seed",
         "context_id": "k", "model": None, "strategy": None, "max_tokens": None,
         "temperature": None, "checked_out": False, "created_at": "2026-01-02T03:04:05",
         "metadata": {}},
        {"id": "b", "parent_id": "a", "tree_id": "t", "kind": "text", "text": " alpha",
         "context_id": None, "model": "model-a", "strategy": "system", "max_tokens": 20,
         "temperature": 0.9, "checked_out": True, "created_at": "2026-01-02T03:04:06",
         "metadata": {"bookmarked": True, "rating": 3, "generation_id": "g"}},
        {"id": "c", "parent_id": "a", "tree_id": "t", "kind": "text", "text": " beta",
         "context_id": None, "model": "model-b", "strategy": "system", "max_tokens": 20,
         "temperature": 0.9, "checked_out": False, "created_at": "2026-01-02T03:04:07",
         "metadata": {"hidden": True}},
    ],
}  # fmt: skip

# the-crypt-keeper/LLooM, branch multi-llm @1eb4dfa: the end of beamwriter.py; before, a bare list.
BEAMWRITER: Shape = {"user_input": "Tell of a fox.", "story": ["Once", " upon a time.", " He ran."]}
BEAMWRITER_OLD = ["Once", " upon a time."]

ALL: dict[str, Any] = {
    "logitloom": LOGITLOOM, "pyloom": PYLOOM, "loomsidian": LOOMSIDIAN, "mikupad": MIKUPAD,
    "bonsai": BONSAI, "exoloom": EXOLOOM, "miniloom": MINILOOM, "basemode-loom": BASEMODE,
    "beamwriter": BEAMWRITER,
}  # fmt: skip
