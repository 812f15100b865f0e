#!/usr/bin/env python3
"""Writes the seeds that the fuzz targets start with: small inputs, most of them valid. Nothing is copied from elsewhere."""

import hashlib
import io
import json
import struct
import zipfile
import zlib
from pathlib import Path

HERE = Path(__file__).parent


def write(target, name, data):
    path = HERE / "seeds" / target / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())


# photo: the other seeds are fixtures/processor/kinds


def bmp(width, height):
    rows = b"".join(bytes([x * 40, y * 60, 7]) for y in range(height) for x in range(width))
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, len(rows), 2835, 2835, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + len(rows), 0, 0, 54) + head + rows


def gif():
    palette = bytes([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255])
    screen = struct.pack("<HHBBB", 2, 2, 0xF1, 0, 0)
    control = b"\x21\xf9\x04\x01\x00\x00\x01\x00"
    picture = b"\x2c" + struct.pack("<HHHHB", 0, 0, 2, 2, 0)
    return b"GIF89a" + screen + palette + control + picture + b"\x02\x03\x44\x02\x05\x00\x3b"


def png(width, height, depth, colour, rows, extra=b""):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


write("photo", "rgb.bmp", bmp(4, 3))
write("photo", "two.gif", gif())
write("photo", "grey-16.png", png(2, 2, 16, 0, b"\0\x01\x02\x00\x07" + b"\0\xff\xff\x00\x00"))
write("photo", "grey-1.png", png(9, 2, 1, 0, b"\0\xaa\x80" + b"\0\x55\x00"))
write("photo", "cut.png", png(9, 2, 1, 0, b"\0\xaa\x80" + b"\0\x55\x00")[:-30])
write("photo", "rgba.png", png(2, 1, 8, 6, b"\0\x01\x02\x03\x04\x05\x06\x07\x08"))

# pickle and archive


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def integer(value):
    return b"J" + struct.pack("<i", value)


def tensor(key, kind, length, offset, shape, strides):
    def tuple_of(values):
        return b"(" + b"".join(map(integer, values)) + b"t"

    storage = b"(" + text("storage") + b"ctorch\n" + kind.encode() + b"Storage\n" + text(key) + text("cpu") + integer(length) + b"tQ"
    rest = integer(offset) + tuple_of(shape) + tuple_of(strides) + b"\x89ccollections\nOrderedDict\n)R"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + rest + b"tR"


TENSORS = {
    "clip.logit_scale": tensor("0", "Float", 1, 0, [], []),
    "decoder.film_mul.weight": tensor("1", "Half", 6, 0, [2, 3], [1, 2]),
    "position_ids": tensor("2", "Long", 4, 1, [1, 3], [3, 1]),
}
STORAGES = {"0": struct.pack("<f", 1.0), "1": struct.pack("<6e", *range(6)), "2": struct.pack("<4q", *range(4))}


def state_dict():
    items = b"".join(text(name) + value for name, value in TENSORS.items())
    return b"\x80\x02ccollections\nOrderedDict\n)Rq\x00(" + items + b"u}q\x01" + text("_metadata") + b"h\x01sb."


def torch_script():
    module = b"c__torch__.M\nM\nq\x00)\x81}(" + text("weight") + TENSORS["decoder.film_mul.weight"] + text("training") + b"\x89"
    inner = module + text("sizes") + b"ctorch.jit._pickle\nbuild_intlist\n](K\x01K\x02e\x85R" + b"ub"
    return b"\x80\x02h\x00)\x81".replace(b"h\x00", b"c__torch__.N\nN\n") + b"}(" + text("visual") + inner + text("scale") + TENSORS["clip.logit_scale"] + b"ub."


def parameter():
    return b"\x80\x02}" + text("a") + b"ctorch._utils\n_rebuild_parameter\n(" + TENSORS["clip.logit_scale"] + b"\x88ccollections\nOrderedDict\n)RtRs."


def archive(program, **more):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_STORED) as file:
        entries = {"a/data.pkl": program, "a/byteorder": b"little", **more, **{f"a/data/{key}": value for key, value in STORAGES.items()}}
        for name, content in entries.items():
            file.writestr(zipfile.ZipInfo(name.replace("__", "/")), content)
    return data.getvalue()


for name, program in [("state-dict", state_dict()), ("torch-script", torch_script()), ("parameter", parameter())]:
    write("pickle", name, program)
write("pickle", "system", b"\x80\x02cposix\nsystem\n" + text("true") + b"\x85R.")
# Views that repeat one number, of which no memory could hold the second.
write("pickle", "expanded", b"\x80\x02}(" + text("a") + tensor("0", "Float", 1, 0, [4, 4], [0, 0]) + text("b") + tensor("0", "Float", 1, 0, [1000000, 1000000], [0, 0]) + b"u.")
write("pickle", "negated", b"\x80\x02}" + text("a") + TENSORS["decoder.film_mul.weight"][:-2] + b"}" + text("neg") + b"\x88stRs.")
write("archive", "state-dict", archive(state_dict()))
write("archive", "torch-script", archive(torch_script(), **{"a__constants.pkl": b"\x80\x02)."}))
write("archive", "legacy", b"\x80\x02\x8a\x0a" + bytes(10) + b".")

# checkpoint


def safetensors(tensors, metadata=None):
    header, data = ({"__metadata__": metadata} if metadata else {}), b""
    for name, (kind, shape, values) in tensors.items():
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [len(data), len(data) + len(values)]}
        data += values
    head = json.dumps(header, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    return struct.pack("<Q", len(head)) + head + data


write(
    "checkpoint",
    "three",
    safetensors(
        {
            "clip.text_model.final_layer_norm.bias": ("F32", [2], struct.pack("<2f", 1, -2)),
            "clip.vision_model.embeddings.class_embedding": ("F16", [3], struct.pack("<3e", 1, 2, 3)),
            "position_ids": ("I64", [1, 1], bytes(8)),
        },
        {"format": "pt"},
    ),
)
write("archive", "safetensors", safetensors({"module.clip.logit_scale": ("F32", [], bytes(4)), "a": ("F64", [1, 2], bytes(16))}))
write("archive", "safetensors-4", safetensors({"a": ("F4", [4], bytes(2))}))
write("checkpoint", "not-finite", safetensors({"a": ("BF16", [1, 2], b"\x80\x7f\0\0"), "module.b": ("F32", [], b"\0\0\xc0\x7f")}))
write("checkpoint", "empty", safetensors({"embeddings.class_embedding": ("F32", [0, 7], b"")}))
write("checkpoint", "lfs", "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 603000000\n")
write("checkpoint", "index", json.dumps({"metadata": {"total_size": 4}, "weight_map": {"clip.logit_scale": "a.safetensors"}}))

# config

VISION = {"hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 16, "num_hidden_layers": 4, "image_size": 32, "patch_size": 16}
TEXT = {"hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 16, "num_hidden_layers": 2, "vocab_size": 64, "eos_token_id": 63}
MODEL = {
    "model_type": "clipseg",
    "text_config": TEXT,
    "vision_config": {**VISION, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5},
    "projection_dim": 8,
    "extract_layers": [0, -2],
    "reduce_dim": 8,
    "decoder_num_attention_heads": 2,
    "use_complex_transposed_convolution": True,
    "torch_dtype": "float32",
}
write("config", "model", json.dumps(MODEL))
write("config", "legacy", json.dumps({"text_config_dict": TEXT, "vision_config_dict": VISION, "vision_config": None, "logit_scale_init_value": 2}))
write("config", "tower", json.dumps({"model_type": "clipseg_vision_model", **VISION, "image_size": [32, 32]}))
write("config", "python", '{"initializer_factor": NaN, "projection_dim": 1e400, "x": [-Infinity]}')
PROCESSOR = {"do_resize": True, "size": {"height": 32, "width": 48}, "resample": 2, "image_mean": [0.5, 0.4, 0.3], "image_std": 0.5, "rescale_factor": 0.00392}
write("config", "processor", json.dumps(PROCESSOR))
write("config", "processor-5", json.dumps({"image_processor": {**PROCESSOR, "do_center_crop": True, "crop_size": 32}, "processor_class": "CLIPSegProcessor"}))
write("config", "edges", json.dumps({"do_resize": False, "size": {"shortest_edge": 224}}))

# tokenizer: the files in their order, separated by zeros

VOCABULARY = {"a": 0, "b": 1, "a</w>": 2, "b</w>": 3, "ab</w>": 4, "!</w>": 5, "Ã": 6, "<|startoftext|>": 7, "<|endoftext|>": 8}


def added(number, content, **more):
    return {"id": number, "content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True, **more}


WORDS = "<\\|startoftext\\|>|<\\|endoftext\\|>|'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+"
ENGINE = {
    "version": "1.0",
    "truncation": None,
    "padding": None,
    "added_tokens": [added(7, "<|startoftext|>", normalized=True), added(8, "<|endoftext|>")],
    "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Replace", "pattern": {"Regex": "\\s+"}, "content": " "}, {"type": "Lowercase"}]},
    "pre_tokenizer": {
        "type": "Sequence",
        "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": WORDS}, "behavior": "Removed", "invert": True},
            {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        ],
    },
    "post_processor": {"type": "RobertaProcessing", "sep": ["<|endoftext|>", 8], "cls": ["<|startoftext|>", 7], "trim_offsets": False, "add_prefix_space": False},
    "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
    "model": {
        "type": "BPE",
        "dropout": None,
        "unk_token": "<|endoftext|>",
        "continuing_subword_prefix": "",
        "end_of_word_suffix": "</w>",
        "fuse_unk": False,
        "byte_fallback": False,
        "vocab": VOCABULARY,
        "merges": [["a", "b</w>"]],
    },
}
SETTINGS = json.dumps({"model_max_length": 9, "pad_token": "!</w>", "padding_side": "left", "clean_up_tokenization_spaces": False})
write("tokenizer", "engine", json.dumps(ENGINE))
write("tokenizer", "cut", json.dumps(ENGINE)[:700])
write("tokenizer", "engine-with-settings", "\0".join([json.dumps(ENGINE), "", "", "", SETTINGS]))
SPECIAL = json.dumps({"bos_token": {"content": "<|startoftext|>", "lstrip": False}, "eos_token": "<|endoftext|>", "additional_special_tokens": ["<x>"]})
write("tokenizer", "vocabulary", "\0".join(["", json.dumps(VOCABULARY), "#version: 0.2\na b</w>\n", SPECIAL, SETTINGS, json.dumps({"<my-star>": 9})]))
DECODER = {"added_tokens_decoder": {"7": added(7, "<|startoftext|>"), "8": added(8, "<|endoftext|>"), "9": {"content": "<y>", "rstrip": True}}}
write("tokenizer", "decoder", "\0".join(["", json.dumps(VOCABULARY), "#version: 0.2\na b</w>\n", "", json.dumps(DECODER)]))

# prompts: prompts.jsonl; the photos are images/1.png of 2 x 1 pixels and images/2.png of 1 x 2, with masks

ROWS = [
    {"image": "1.png", "text": "a cat", "mask": "1.png"},
    {"image": "1.png", "text": "a dog", "mask": None, "group": "absent", "class": "dog"},
    {"image": "2.png", "prompt_image": "1.png", "prompt_mask": "1.png", "mask": "2.png"},
]
write("prompts", "rows", "".join(json.dumps(row) + "\n" for row in ROWS))
write("prompts", "lying", '\r\n{"image":"1.png","text":"\\u00e9","mask":"2.png"}')
write("prompts", "elsewhere", '{"image":"../images/1.png","text":"x","mask":null}\n{"image":"/dev/null","text":"x","mask":null}\n')

# masks: width, height, distance, tolerance, and pixels or run lengths

write("masks", "ring", bytes([5, 5, 16, 8]) + bytes([0] * 6 + [255] * 3 + [0, 0, 255, 0, 255, 0, 0] + [255] * 3 + [0] * 6))
write("masks", "corners", bytes([2, 2, 24, 40]) + bytes([255, 0, 0, 255]))
write("masks", "run-lengths", bytes([4, 4, 1, 1]) + b"35311N2")
write("masks", "all", bytes([3, 2, 255, 255]) + b"6")
write("masks", "none", bytes([0, 7, 3, 3]) + b"0")

# hub: answers to successive connections


def git(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def answer(status, headers=(), body=b""):
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers), f"Content-Length: {len(body)}", "Connection: close", "", ""]
    return "\r\n".join(lines).encode() + body


def listing(*names):
    return answer("200 OK", [("Content-Type", "application/json")], json.dumps({"sha": "1" * 40, "siblings": [{"rfilename": name} for name in names]}).encode())


CONFIG = b'{"model_type":"clipseg"}'
WEIGHTS = safetensors({"a": ("U8", [4], b"abcd")})
SHA256 = hashlib.sha256(WEIGHTS).hexdigest()
SMALL = [answer("200 OK", [("ETag", f'"{git(CONFIG)}"'), ("Accept-Ranges", "bytes")], CONFIG)] * 2
LARGE = [("X-Linked-ETag", f'"{SHA256}"'), ("X-Linked-Size", len(WEIGHTS)), ("Location", "{STORAGE}/x?sig=1")]


def hub(name, *answers):
    write("hub", name, b"\n====\n".join(answers))


BOTH = listing("config.json", "model.safetensors")
FOUND = answer("302 Found", LARGE)
hub("whole", BOTH, *SMALL, FOUND, FOUND, answer("200 OK", [("ETag", '"0"')], WEIGHTS), BOTH)
CUT = answer("200 OK", [], WEIGHTS)[:-30]
REST = answer("206 Partial Content", [("Content-Range", f"bytes {len(WEIGHTS) - 30}-{len(WEIGHTS) - 1}/{len(WEIGHTS)}")], WEIGHTS[-30:])
hub("resumed", BOTH, *SMALL, FOUND, FOUND, CUT, BOTH, FOUND, FOUND, REST)
hub("redirected", BOTH, answer("307 Temporary Redirect", [("Location", "/api/x?etag=1"), ("X-Linked-ETag", f'"{git(CONFIG)}"')]), SMALL[0], SMALL[1], answer("404 Not Found", [("X-Error-Code", "EntryNotFound"), ("X-Error-Message", "Entry not found")]))
hub("busy", answer("429 Too Many Requests", [("RateLimit", '"api";r=0;t=0'), ("Retry-After", "Wed, 21 Oct 2015 07:28:00 GMT")]), answer("503 Service Unavailable", [("Retry-After", "0")]))
hub("gated", answer("403 Forbidden", [("X-Error-Code", "GatedRepo"), ("X-Error-Message", "Access to model tiny/model is restricted")]), answer("401 Unauthorized"))
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nETag: W/\"x\"\r\n\r\n18\r\n" + CONFIG + b"\r\n0\r\n\r\n"
hub("chunked", BOTH, CHUNKED, CHUNKED, answer("200 OK", [("ETag", '"abc"')], WEIGHTS), answer("200 OK", [], WEIGHTS), BOTH)
hub("beyond", BOTH, *SMALL, answer("302 Found", LARGE[::2]), FOUND, CUT, BOTH, FOUND, FOUND, answer("416 Range Not Satisfiable", [("Content-Range", "bytes */77")]))
INDEX = json.dumps({"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}).encode()
SHARDS = listing("config.json", "model.safetensors.index.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
hub("shards", SHARDS, *SMALL, *[answer("200 OK", [("ETag", f'"{git(INDEX)}"')], INDEX)] * 2, *[answer("200 OK", [("ETag", f'"{SHA256}"')], WEIGHTS)] * 4)
