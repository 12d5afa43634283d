"""Good adapter folders, and ways to spoil them; both chosen by a seed.

A spoiler changes a folder in place and returns words of which the refusal must name one.
"""

import copy
import json
import math
import random
import struct
from collections.abc import Callable

from tests.support.other_packages import KINDS
from tests.support.packages import HEAD, Folder, Tensor, bert, gpt2, llama, make_folder, noise

CONFIGS = (
    "seq_bn[reduction_factor=2]",
    "seq_bn[reduction_factor=4,leave_out=[1]]",
    "double_seq_bn[reduction_factor=4]",
    "par_bn[reduction_factor=2]",
    "seq_bn_inv[reduction_factor=2]",
    "double_seq_bn_inv[reduction_factor=4]",
    "lora[r=2]",
    "lora[r=3,alpha=6,attn_matrices=['q','k','v'],intermediate_lora=True]",
    "ia3",
    "prefix_tuning[flat=True,prefix_length=3]",
    "prompt_tuning[prompt_length=4]",
    "seq_bn[reduction_factor=2]|lora[r=2]",
    "compacter[phm_dim=2,reduction_factor=2]",
    "compacter++[phm_dim=2,reduction_factor=2]",
    "scaled_par_bn[reduction_factor=2]",
    "dora[r=2]",
    "vera[r=2]",
    "mtl_lora[r=2]",
    "prefix_tuning[prefix_length=3,bottleneck_size=4]",
    "prefix_tuning[flat=True,prefix_length=3]|seq_bn[reduction_factor=2]|lora[r=2]",
    "loreft",
    "noreft[r=2]",
    "direft[r=2]",
)
BASES = {
    "bert": bert(),
    "bert, narrow": bert(layers=2, width=4),
    "xlm-roberta": bert(layers=4, kind="xlm-roberta"),
    "gpt2": gpt2(),
    "llama": llama(),
}
HEADS = (
    None,
    HEAD,
    HEAD | {"layers": 2},
    HEAD | {"head_type": "tagging", "num_labels": 3, "label2id": {"O": 0, "B": 1, "I": 2}},
)
NAMES = ("mine", "a", "my.lang", "lab/ner@1.0.0", "adapters", "x-y_z")


def good(rng: random.Random):
    """Return (base, folder) of an adapter that must be accepted."""
    base = BASES[rng.choice(sorted(BASES))]
    folder = make_folder(
        base,
        rng.choice(CONFIGS),
        head=rng.choice(HEADS),
        dtype=rng.choice(("F32", "F16", "BF16")),
        name=rng.choice(NAMES),
        prefix=rng.random() < 0.8,
        seed=rng.random(),
        identity={"name": "tiny/bert"} if rng.random() < 0.7 else None,
    )
    return base, folder


def good_of_kind(kind: str, rng: random.Random):
    """Return (base, folder) of a fusion, a head, an embedding, ..., that must be accepted."""
    base = BASES[rng.choice(sorted(BASES))]
    return base, KINDS[kind](base, rng, rng.choice(("F32", "F16", "BF16")))


def _weights(folder: Folder, rng: random.Random) -> tuple[str, dict[str, Tensor]]:
    if folder.head and rng.random() < 0.3:
        return "model_head.safetensors", folder.head
    return folder.weights, folder.tensors


def _pick(tensors: dict[str, Tensor], rng: random.Random) -> str:
    return rng.choice(sorted(tensors))


def truncated(folder: Folder, rng: random.Random) -> list[str]:
    file, _ = _weights(folder, rng)
    data = folder.contents()[file]
    folder.files[file] = data[: rng.randrange(len(data))]
    return [file]


def renamed(folder: Folder, rng: random.Random) -> list[str]:
    _, tensors = _weights(folder, rng)
    name = _pick(tensors, rng)
    at = rng.randrange(len(name))
    changed = name[:at] + ("q" if name[at] != "q" else "z") + name[at + 1 :]
    tensors[changed] = tensors.pop(name)
    return [name, changed]


def extra(folder: Folder, rng: random.Random) -> list[str]:
    _, tensors = _weights(folder, rng)
    like = _pick(tensors, rng)
    name = rng.choice((f"{like}.more", f"more.{like}", "x", like.replace(".", "_")))
    tensors[name] = noise((2, 3), tensors[like].dtype, 1)
    return [name]


def missing(folder: Folder, rng: random.Random) -> list[str]:
    _, tensors = _weights(folder, rng)
    name = _pick(tensors, rng)
    del tensors[name]
    return [name, "no tensor", "is missing"]


def misshaped(folder: Folder, rng: random.Random) -> list[str]:
    _, tensors = _weights(folder, rng)
    name = _pick(tensors, rng)
    tensor = tensors[name]
    shapes = [(*tensor.shape, 1), (1, *tensor.shape), (math.prod(tensor.shape) + 1,)]
    if len(tensor.shape) > 1 and tensor.shape != tensor.shape[::-1]:
        shapes.append(tensor.shape[::-1])
    tensors[name] = noise(rng.choice(shapes), tensor.dtype, 1)
    return [name]


def of_integers(folder: Folder, rng: random.Random) -> list[str]:
    _, tensors = _weights(folder, rng)
    name = _pick(tensors, rng)
    tensors[name] = noise(tensors[name].shape, rng.choice(("I64", "I32")), 1)
    return [name]


def infinite(folder: Folder, rng: random.Random) -> list[str]:
    _, tensors = _weights(folder, rng)
    name = _pick(tensors, rng)
    tensor = tensors[name]
    item = {"F32": struct.pack("<I", 0x7FC00000), "F16": b"\x00\xfc", "BF16": b"\x80\x7f"}
    value = item[tensor.dtype]
    at = rng.randrange(len(tensor.data) // len(value)) * len(value)
    tensor.data = tensor.data[:at] + value + tensor.data[at + len(value) :]
    return [name]


def of_another_base(folder: Folder, rng: random.Random) -> list[str]:
    """Put the tensors of a wider, deeper or shallower base of the same type into the folder."""
    kind = folder.documents["adapter_config.json"]["model_type"]
    make = {"gpt2": gpt2, "llama": llama}.get(kind, lambda **sizes: bert(**sizes, kind=kind))
    other = make(**rng.choice(({"width": 16, "layers": 3}, {"layers": 7}, {"layers": 1})))
    config = rng.choice(("seq_bn[reduction_factor=2]", "lora[r=2]", "ia3"))
    folder.tensors = make_folder(other, config, name="mine").tensors
    folder.documents["adapter_config.json"] |= {
        "config": make_folder(other, config).documents["adapter_config.json"]["config"],
        "name": "mine",
    }
    folder.documents.pop("hub_adapter.json", None)
    return ["adapter.safetensors: tensor"]


def under_other_names(folder: Folder, rng: random.Random) -> list[str]:
    """Name all tensors as another layout would."""
    old, new = rng.choice(
        ((".", "/"), ("adapters", "attention_text_task"), ("mine", "theirs"), (".", ".module."))
    )
    folder.tensors = {
        f"net.{name.replace(old, new)}": tensor for name, tensor in folder.tensors.items()
    }
    return ["none of its"]


def _rewrite(folder: Folder, change: Callable[[dict], object]) -> None:
    data = folder.contents()[folder.weights]
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__")
    text = change(header)
    text = text if isinstance(text, bytes) else json.dumps(header).encode()
    folder.files[folder.weights] = struct.pack("<Q", len(text)) + text + data[8 + length :]


def by_header(folder: Folder, rng: random.Random) -> list[str]:
    """Play one of the tricks that the format's own reader falls for, or nearly."""
    name = _pick(folder.tensors, rng)

    def twice(header):
        entry = json.dumps({name: header[name]})[1:-1]
        return (json.dumps(header)[:-1] + ", " + entry + "}").encode()

    def overlapping(header):
        header[name]["data_offsets"] = [at + 2 for at in header[name]["data_offsets"]]

    def enormous(header):
        header[name]["shape"] = [2**32, 2**32]

    def negative(header):
        header[name]["shape"] = [-size for size in header[name]["shape"]]

    def climbing(header):
        header["../../" + name + " "] = header.pop(name)

    def empty(header):
        header["empty"] = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}

    def cluttered(header):
        header[name]["comment"] = "hidden"

    def described(header):
        header["__metadata__"] = {"n": 1}

    def nested(header):
        header["deep"] = {"a": {"b": {"c": {"d": {}}}}}

    tricks = {
        twice: name,
        overlapping: "begins at byte",
        enormous: name,
        negative: name,
        climbing: "../../",
        empty: "empty",
        cluttered: name,
        described: "__metadata__",
        nested: "deep",
    }
    trick = rng.choice(list(tricks))
    _rewrite(folder, trick)
    return [tricks[trick]]


def by_configuration(folder: Folder, rng: random.Random) -> list[str]:
    """Let the configuration say something else than the tensors, or nothing that can be read."""
    document = folder.documents["adapter_config.json"]
    document["config"], words = rng.choice(
        (
            ({"architecture": "unheard_of"}, "unheard_of"),
            (None, "config is missing"),
            ("/etc/passwd", "config is missing"),
            ({"config": "/etc/passwd"}, "config"),
            (document["config"] | {"colour": "red"}, "colour"),
            ({"architecture": "lora", "r": 77}, "tensor"),
            ({"architecture": "prefix_tuning", "prefix_length": 77}, "tensor"),
            ({"architecture": "lora", "r": "many"}, "config: r"),
        )
    )
    return [words]


def by_contract(folder: Folder, rng: random.Random) -> list[str]:
    """Let hub_adapter.json contradict the configuration, or be no such document."""
    hub = folder.documents.setdefault(
        "hub_adapter.json",
        {
            "schema": "hub.adapter/1",
            "base": {"name": "tiny/bert"},
            "signature": {"method": "seq_bn"},
        },
    )
    signature = hub["signature"]
    faults = {
        "signature.method": lambda: signature.update(method="telepathy"),
        "signature.layers": lambda: signature.update(method=signature["method"], layers=[0, 99]),
        "signature.points": lambda: signature.update(points=["nowhere"]),
        "signature.invertible": lambda: signature.update(invertible="glow"),
        "signature.rows": lambda: signature.update(rows=True),
        "signature.language": lambda: signature.update(language="klingonese"),
        "languages.0": lambda: hub.update(languages=["English"]),
        "requires.lang.ref": lambda: hub.update(
            requires={"lang": {"signature": {"method": "seq_bn"}, "ref": "nobody"}}
        ),
        "kind": lambda: hub.update(kind="sorcery"),
        "colour": lambda: hub.update(colour="red"),
        "base.body": lambda: hub.update(base={"body": "sha256:0"}),
        "a language adapter says which": lambda: hub.update(kind="language"),
    }
    word = rng.choice(sorted(faults))
    faults[word]()
    return [word]


def by_json(folder: Folder, rng: random.Random) -> list[str]:
    """Write a document as parsers disagree on, or choke on."""
    contents = folder.contents()
    file = rng.choice(sorted(path for path in contents if path.endswith(".json")))
    data = contents[file]
    folder.files[file] = rng.choice(
        (
            b"\xef\xbb\xbf" + data,
            data.decode().encode("utf-16"),
            data[: rng.randrange(1, len(data))],
            data[:-1] + b',"a":1,"a":2}',
            data[:-1] + b',"a":NaN}',
            data[:-1] + b',"a":1e999}',
            data[:-1] + b',"a":' + b"9" * 5000 + b"}",
            data[:-1] + b',"a":"\\ud800"}',
            data[:-1] + b',"a":' + b"[" * 5000 + b"]" * 5000 + b"}",
            data[:-1] + b",}",
            b"// a comment\n" + data,
            data + b"{}",
            b"[" + data + b"]",
            b"null",
            b"",
            b"\xff\xfe\x00",
        )
    )
    return [f"{file}: "]


ON_TENSORS = {
    spoil.__name__: spoil
    for spoil in (
        *(truncated, renamed, extra, missing, misshaped, of_integers, infinite),
        *(by_header, by_json),
    )
}
"""These spoil folders of every kind."""

SPOILERS = ON_TENSORS | {
    spoil.__name__: spoil
    for spoil in (of_another_base, under_other_names, by_configuration, by_contract)
}


def bad_path(rng: random.Random) -> str:
    """Return a path that means different things in different places, or nothing in any."""
    part = rng.choice(("adapter_config.json", "weights.safetensors", "a/b.json", "README.md"))
    tricks = (
        *(f"../{part}", f"/{part}", f"a/../../{part}", f"./{part}", f"a//{part}", f"{part}/"),
        *(f"a\\{part}", f"C:{part}", f"{part}\0.json", f"{part}\n", f" {part}", f"{part} "),
        *(f"\u202e{part}", f"ü{part}", f"~{part}", f"%2e%2e/{part}", f"{part}?x", "a" * 300, ""),
        *("..", ".", f"$HOME/{part}", f"`x`{part}", f"{part};rm", f"a/./{part}", f"a/../{part}"),
    )
    return rng.choice(tricks)


_ODD = (
    *(None, 0, -1, 1, 2**53, 1e300, 1e-300, -0.5, True, "", "x", "../../etc/passwd", "a" * 5000),
    *([], [None], [1, 1], [10**9], {}, {"a": 1}, {"default": 0}, {"config": "/etc/passwd"}),
)


def scribble(folder: Folder, rng: random.Random) -> None:
    """Put odd values anywhere into one of the folder's documents; some do no harm."""
    name = rng.choice(sorted(folder.documents))
    folder.documents[name] = document = copy.deepcopy(folder.documents[name])
    for _ in range(rng.choice((1, 1, 2))):
        place, key = rng.choice(list(_places(document)))
        place[key] = copy.deepcopy(rng.choice(_ODD))


def _places(document):
    items = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in items:
        yield document, key
        if isinstance(value, dict | list):
            yield from _places(value)
