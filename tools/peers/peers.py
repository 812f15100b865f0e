"""Times another engine on a CLIPSeg checkpoint, a photo and prompts: `cargo xtask peers` runs it, once per
engine and round.

Prints one line of JSON: the engine's version, the seconds of each warm run, and the largest difference of its logits from those
in `--logits` (of the largest logit). Preprocessing and tokenizing are in the time, as they are in the others'.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy
from PIL import Image
from safetensors.numpy import load_file
import transformers
from transformers import CLIPSegForImageSegmentation, CLIPTokenizer, ViTImageProcessor

# Prompts are padded to this length for a graph of fixed sizes. Tokens behind a prompt's end change nothing:
# attention is causal, and the end's output is what counts.
TOKENS = 16


class Torch:
    """PyTorch, as transformers' users run it: the photo once for each prompt. `place` is its device and type of numbers."""

    def __init__(self, model, threads, _, place):
        import torch

        torch.set_num_threads(threads)
        # Products in full f32, as ours are.
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        self.torch, (self.device, dtype) = torch, place
        self.dtype = getattr(torch, dtype)
        self.version = f"PyTorch {torch.__version__}, transformers {transformers.__version__}"
        if self.device == "cuda":
            self.version += f", {dtype} on {torch.cuda.get_device_name()}"
        self.model = CLIPSegForImageSegmentation.from_pretrained(model).eval().to(self.device, self.dtype)

    def check(self):
        pass

    def run(self, pixels, ids):
        torch = self.torch
        pixels = torch.from_numpy(pixels).to(self.device, self.dtype).repeat(len(ids), 1, 1, 1)
        with torch.inference_mode():
            logits = self.model(pixel_values=pixels, input_ids=torch.from_numpy(ids).to(self.device)).logits
        # Copying to the host waits for the device too.
        return logits.float().cpu().view(len(ids), *logits.shape[-2:]).numpy()


class Onnx:
    """ONNX Runtime on the exported graph, one prompt at a time."""

    def __init__(self, model, threads, graph, provider):
        import onnxruntime

        if not graph.exists():
            self.export(model, graph)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        self.provider = provider
        # Profile the first run alone: `check` ends the profile.
        options.enable_profiling = True
        options.profile_file_prefix = str(graph.with_suffix(""))
        providers = [provider] if provider == "CPUExecutionProvider" else [provider, "CPUExecutionProvider"]
        self.session = onnxruntime.InferenceSession(str(graph), options, providers=providers)
        if self.session.get_providers()[0] != provider:
            sys.exit("its WebGPU provider finds no adapter that it takes and would fall back to the processor in silence")
        self.version = f"ONNX Runtime {onnxruntime.__version__}"

    def check(self):
        """Checks the first run's profile: a provider may still leave ops that it cannot do to the
        processor."""
        profile = Path(self.session.end_profiling())
        nodes = [event["args"] for event in json.loads(profile.read_text()) if event["cat"] == "Node" and "op_name" in event["args"]]
        profile.unlink()
        heavy = [node["provider"] for node in nodes if any(word in node["op_name"] for word in ("MatMul", "Gemm", "Conv"))]
        if not heavy or set(heavy) != {self.provider}:
            sys.exit(f"of the {len(heavy)} products and convolutions {heavy.count(self.provider)} ran on {self.provider}")

    @staticmethod
    def export(model, graph):
        import torch

        class Logits(torch.nn.Module):
            def __init__(self, inner):
                super().__init__()
                self.inner = inner

            def forward(self, pixel_values, input_ids):
                mask = torch.ones_like(input_ids)
                return self.inner(pixel_values=pixel_values, input_ids=input_ids, attention_mask=mask).logits

        inner = CLIPSegForImageSegmentation.from_pretrained(model).eval()
        # The size that the processor resizes to. The checkpoint's own image size may be another; then its
        # positions are resized.
        size = ViTImageProcessor.from_pretrained(model).size
        inputs = (torch.zeros(1, 3, size["height"], size["width"]), torch.full((1, TOKENS), inner.config.text_config.eos_token_id))
        names = dict(input_names=["pixel_values", "input_ids"], output_names=["logits"])
        torch.onnx.export(Logits(inner), inputs, str(graph), dynamo=True, opset_version=18, external_data=False, **names)

    def run(self, pixels, ids):
        rows = [self.session.run(None, dict(pixel_values=pixels, input_ids=row[None]))[0] for row in ids]
        return numpy.stack(rows).reshape(len(ids), *rows[0].shape[-2:])


ENGINES = {
    "torch": (Torch, ("cpu", "float32")),
    "torch-cuda": (Torch, ("cuda", "float32")),
    "torch-cuda-f16": (Torch, ("cuda", "float16")),
    "onnx-cpu": (Onnx, "CPUExecutionProvider"),
    "onnx-webgpu": (Onnx, "WebGpuExecutionProvider"),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", choices=ENGINES)
    parser.add_argument("--model", required=True)
    parser.add_argument("--photo", required=True)
    parser.add_argument("--logits", required=True, help="safetensors file with `logits` of the same photo and prompts")
    parser.add_argument("--prompt", action="append", required=True)
    parser.add_argument("--graph", type=Path, required=True, help="ONNX file of the checkpoint; made unless it is there")
    parser.add_argument("--runs", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    arguments = parser.parse_args()
    make, provider = ENGINES[arguments.engine]
    engine = make(arguments.model, arguments.threads, arguments.graph, provider)
    processor = ViTImageProcessor.from_pretrained(arguments.model)
    tokenizer = CLIPTokenizer.from_pretrained(arguments.model)
    photo = Image.open(arguments.photo).convert("RGB")
    padding = dict(padding="max_length", max_length=TOKENS) if make is Onnx else dict(padding=True)

    def run():
        pixels = processor(images=photo, return_tensors="np")["pixel_values"].astype(numpy.float32)
        ids = tokenizer(arguments.prompt, return_tensors="np", **padding)["input_ids"].astype(numpy.int64)
        return engine.run(pixels, ids)

    logits = run()
    engine.check()
    expected = load_file(arguments.logits)["logits"]
    difference = float(numpy.abs(logits - expected).max() / numpy.abs(expected).max())
    seconds = []
    for _ in range(arguments.runs):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    print(json.dumps(dict(version=engine.version, seconds=seconds, difference=difference)))


if __name__ == "__main__":
    main()
