"""The tiny checkpoints: their configurations, how they are stored, and the cases that each is asked.

They differ wherever CLIPSeg can differ, so that an engine which passes on all of them has met ragged and aligned
widths, both transposed convolutions, every pooling rule, every activation, and every form of checkpoint.
A recipe says

- `config`: of the whole model;
- `model`: what is saved of it, `segmentation` (all), `clip` (a `CLIPSegModel`), or one tower, `text` or `vision`;
- `stored_as`, and `shard_size` where the weights go into several files with an index;
- `position_ids`: whether the buffers that older releases saved are there, which a reader has to pass over;
- `cases`: of `cases.py`, as many as the size limit of one checkpoint leaves room for.
"""

import torch

CHECKPOINTS = {
    # Ragged widths; head sizes 24, 8 and 4 (the last is the one of the published rd16 checkpoint).
    "tiny-complex": dict(
        position_ids=True,
        config=dict(
            text_config=dict(
                vocab_size=600, hidden_size=40, intermediate_size=72, num_hidden_layers=3, num_attention_heads=5,
                max_position_embeddings=20, hidden_act="quick_gelu",
                bos_token_id=598, eos_token_id=599, pad_token_id=599,
            ),
            vision_config=dict(
                hidden_size=48, intermediate_size=100, num_hidden_layers=4, num_attention_heads=2,
                image_size=48, patch_size=16, hidden_act="quick_gelu",
            ),
            projection_dim=36, extract_layers=[0, 1, 3], reduce_dim=16, decoder_num_attention_heads=4,
            decoder_intermediate_size=42, conditional_layer=0, use_complex_transposed_convolution=True,
        ),
        cases=[
            "segmentation", "segmentation-unmasked", "segmentation-image", "segmentation-embeddings",
            "segmentation-labels", "segmentation-resized", "clip", "text", "text-unmasked", "text-left-padding", "vision",
        ],
    ),
    # The old pooling rule (`eos_token_id` 2 means "the largest id"), the one-step transposed convolution, the condition
    # applied at the second decoder layer, activations that differ between the towers, a width that is odd.
    "tiny-simple": dict(
        config=dict(
            text_config=dict(
                vocab_size=500, hidden_size=36, intermediate_size=60, num_hidden_layers=2, num_attention_heads=3,
                max_position_embeddings=16, hidden_act="gelu",
                bos_token_id=0, eos_token_id=2, pad_token_id=1,
            ),
            vision_config=dict(
                hidden_size=128, intermediate_size=44, num_hidden_layers=2, num_attention_heads=2,
                image_size=40, patch_size=8, hidden_act="gelu_new",
            ),
            projection_dim=33, extract_layers=[0, 1], reduce_dim=30, decoder_num_attention_heads=3,
            decoder_intermediate_size=50, conditional_layer=1, use_complex_transposed_convolution=False,
        ),
        cases=[
            "segmentation", "segmentation-unmasked", "segmentation-embeddings", "segmentation-resized", "clip", "text",
            "text-unmasked", "text-left-padding", "vision",
        ],
    ),
    # Widths that are multiples of 32 and 64, so that the aligned fast paths run; patch 32 makes the logits 64 times the
    # grid, larger than the image; the end token is not the largest id; weights are stored as f16.
    "tiny-deep": dict(
        stored_as=torch.float16,
        config=dict(
            text_config=dict(
                vocab_size=256, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=2,
                max_position_embeddings=24, hidden_act="relu",
                bos_token_id=249, eos_token_id=250, pad_token_id=0,
            ),
            vision_config=dict(
                hidden_size=64, intermediate_size=128, num_hidden_layers=5, num_attention_heads=2,
                image_size=64, patch_size=32, hidden_act="relu",
            ),
            projection_dim=64, extract_layers=[0, 2, 3, 4], reduce_dim=32, decoder_num_attention_heads=1,
            decoder_intermediate_size=64, conditional_layer=0, use_complex_transposed_convolution=True,
        ),
        cases=["segmentation", "clip", "text", "text-unmasked", "text-left-padding", "vision"],
    ),
    # Patch 14 in one step; an image that is not a multiple of the patch; extract layers out of order, the condition in the
    # last step.
    "tiny-patch14": dict(
        config=dict(
            text_config=dict(
                vocab_size=300, hidden_size=48, intermediate_size=56, num_hidden_layers=2, num_attention_heads=2,
                max_position_embeddings=14, hidden_act="gelu",
                bos_token_id=298, eos_token_id=299, pad_token_id=299,
            ),
            vision_config=dict(
                hidden_size=40, intermediate_size=64, num_hidden_layers=3, num_attention_heads=5,
                image_size=45, patch_size=14, hidden_act="gelu",
            ),
            projection_dim=24, extract_layers=[2, 0, 1], reduce_dim=24, decoder_num_attention_heads=1,
            decoder_intermediate_size=40, conditional_layer=2, use_complex_transposed_convolution=False,
        ),
        cases=[
            "segmentation", "segmentation-five", "segmentation-smaller", "segmentation-image",
            "clip-rectangular", "text-holes", "vision-larger",
        ],
    ),
    # Patch 14 in the complex form: 14 // 4 = 3, so 9 logits per patch and axis; a decoder of odd width, half
    # of it rounded down; one layer extracted twice; SELU, which transformers documents and does not register.
    "tiny-patch14-complex": dict(
        config=dict(
            text_config=dict(
                vocab_size=300, hidden_size=36, intermediate_size=50, num_hidden_layers=2, num_attention_heads=2,
                max_position_embeddings=14, hidden_act="selu",
                bos_token_id=290, eos_token_id=291, pad_token_id=0,
            ),
            vision_config=dict(
                hidden_size=42, intermediate_size=45, num_hidden_layers=3, num_attention_heads=3,
                image_size=42, patch_size=14, hidden_act="selu",
            ),
            projection_dim=20, extract_layers=[1, 1, 0], reduce_dim=15, decoder_num_attention_heads=3,
            decoder_intermediate_size=33, conditional_layer=1, use_complex_transposed_convolution=True,
        ),
        cases=["segmentation", "segmentation-resized", "segmentation-unmasked", "clip", "text", "vision-oblong"],
    ),
    # Patch 8 in the complex form, 4 logits per patch and axis; the last layer alone is extracted; bfloat16;
    # the old pooling rule.
    "tiny-patch8-complex": dict(
        stored_as=torch.bfloat16,
        config=dict(
            text_config=dict(
                vocab_size=280, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
                max_position_embeddings=12, hidden_act="gelu_new",
                bos_token_id=278, eos_token_id=2, pad_token_id=279,
            ),
            vision_config=dict(
                hidden_size=48, intermediate_size=96, num_hidden_layers=3, num_attention_heads=6,
                image_size=32, patch_size=8, hidden_act="gelu_new",
            ),
            projection_dim=32, extract_layers=[2], reduce_dim=16, decoder_num_attention_heads=2,
            decoder_intermediate_size=48, conditional_layer=0, use_complex_transposed_convolution=True,
        ),
        cases=[
            "segmentation", "segmentation-image", "segmentation-left-padding", "clip", "text-left-padding",
            "vision-same-count",
        ],
    ),
    # One layer in each tower and in the decoder; patch 32 in the one-step form; two patches each way.
    "tiny-shallow": dict(
        config=dict(
            text_config=dict(
                vocab_size=260, hidden_size=24, intermediate_size=40, num_hidden_layers=1, num_attention_heads=1,
                max_position_embeddings=11, hidden_act="relu",
                bos_token_id=257, eos_token_id=258, pad_token_id=0,
            ),
            vision_config=dict(
                hidden_size=24, intermediate_size=36, num_hidden_layers=1, num_attention_heads=3,
                image_size=64, patch_size=32, hidden_act="relu",
            ),
            projection_dim=16, extract_layers=[0], reduce_dim=12, decoder_num_attention_heads=2,
            decoder_intermediate_size=20, conditional_layer=0, use_complex_transposed_convolution=False,
        ),
        cases=[
            "segmentation", "segmentation-embeddings", "segmentation-smaller", "clip", "text-one-token", "vision-one",
        ],
    ),
    # Many layers, as many in the decoder as extracted, out of order, repeated, the first and the last among them.
    "tiny-many-layers": dict(
        config=dict(
            text_config=dict(
                vocab_size=260, hidden_size=16, intermediate_size=32, num_hidden_layers=15, num_attention_heads=2,
                max_position_embeddings=16, hidden_act="quick_gelu",
                bos_token_id=258, eos_token_id=259, pad_token_id=259,
            ),
            vision_config=dict(
                hidden_size=24, intermediate_size=48, num_hidden_layers=14, num_attention_heads=3,
                image_size=48, patch_size=16, hidden_act="quick_gelu",
            ),
            projection_dim=16, extract_layers=[13, 0, 7, 7, 3], reduce_dim=24, decoder_num_attention_heads=3,
            decoder_intermediate_size=28, conditional_layer=3, use_complex_transposed_convolution=False,
        ),
        cases=["segmentation", "segmentation-image-resized", "clip-rectangular", "text-holes", "text-positions"],
    ),
    # The published vocabulary and its ids, the newer pooling rule: the first 49407.
    "tiny-vocabulary": dict(
        stored_as=torch.float16,
        config=dict(
            text_config=dict(
                vocab_size=49408, hidden_size=8, intermediate_size=16, num_hidden_layers=2, num_attention_heads=1,
                max_position_embeddings=77, hidden_act="quick_gelu",
                bos_token_id=49406, eos_token_id=49407, pad_token_id=49407,
            ),
            vision_config=dict(
                hidden_size=32, intermediate_size=48, num_hidden_layers=4, num_attention_heads=4,
                image_size=32, patch_size=16, hidden_act="quick_gelu",
            ),
            projection_dim=8, extract_layers=[1, 3], reduce_dim=32, decoder_num_attention_heads=4,
            decoder_intermediate_size=64, conditional_layer=0, use_complex_transposed_convolution=True,
        ),
        cases=["segmentation", "segmentation-resized", "clip-rectangular", "text", "text-longest", "text-left-padding"],
    ),
    # The published checkpoints' `eos_token_id` 2 over that vocabulary: the first of the largest ids.
    "tiny-vocabulary-old": dict(
        stored_as=torch.float16,
        config=dict(
            text_config=dict(
                vocab_size=49408, hidden_size=8, intermediate_size=20, num_hidden_layers=1, num_attention_heads=2,
                max_position_embeddings=77, hidden_act="quick_gelu",
                bos_token_id=49406, eos_token_id=2, pad_token_id=49407,
            ),
            vision_config=dict(
                hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
                image_size=32, patch_size=16, hidden_act="quick_gelu",
            ),
            projection_dim=12, extract_layers=[0, 1], reduce_dim=8, decoder_num_attention_heads=1,
            decoder_intermediate_size=16, conditional_layer=0, use_complex_transposed_convolution=False,
        ),
        cases=["segmentation", "text-unmasked", "text-holes"],
    ),
    # Heads of 64 in both towers and in the decoder, whose MLP is much wider than it; the towers' activations differ.
    "tiny-wide-heads": dict(
        stored_as=torch.float16,
        config=dict(
            text_config=dict(
                vocab_size=200, hidden_size=128, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2,
                max_position_embeddings=16, hidden_act="quick_gelu",
                bos_token_id=198, eos_token_id=199, pad_token_id=199,
            ),
            vision_config=dict(
                hidden_size=128, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
                image_size=48, patch_size=16, hidden_act="gelu",
            ),
            projection_dim=40, extract_layers=[0, 1], reduce_dim=64, decoder_num_attention_heads=1,
            decoder_intermediate_size=256, conditional_layer=1, use_complex_transposed_convolution=True,
        ),
        cases=["segmentation", "segmentation-five", "text-positions"],
    ),
    # Several files with an index; an activation for the decoder, which transformers overrides with ReLU; epsilons that
    # matter and differ between the towers (the decoder takes the vision tower's).
    "tiny-sharded": dict(
        shard_size="90KB",
        config=dict(
            text_config=dict(
                vocab_size=270, hidden_size=40, intermediate_size=64, num_hidden_layers=2, num_attention_heads=5,
                max_position_embeddings=16, hidden_act="gelu", layer_norm_eps=0.01,
                bos_token_id=268, eos_token_id=269, pad_token_id=269,
            ),
            vision_config=dict(
                hidden_size=32, intermediate_size=56, num_hidden_layers=3, num_attention_heads=4,
                image_size=48, patch_size=16, hidden_act="quick_gelu", layer_norm_eps=0.1,
            ),
            projection_dim=28, extract_layers=[0, 2], reduce_dim=20, decoder_num_attention_heads=2,
            decoder_intermediate_size=44, decoder_hidden_act="gelu", conditional_layer=0,
            use_complex_transposed_convolution=True,
        ),
        cases=["segmentation", "segmentation-labels", "segmentation-embeddings", "clip", "text", "vision"],
    ),
    # A `CLIPSegModel`: no decoder, and names without `clip.`.
    "tiny-clip": dict(
        model="clip",
        config=dict(
            text_config=dict(
                vocab_size=270, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
                max_position_embeddings=16, hidden_act="quick_gelu",
                bos_token_id=268, eos_token_id=269, pad_token_id=0,
            ),
            vision_config=dict(
                hidden_size=48, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
                image_size=32, patch_size=8, hidden_act="quick_gelu",
            ),
            projection_dim=20,
        ),
        cases=["clip", "clip-five", "clip-rectangular", "text", "vision", "vision-larger"],
    ),
    # A `CLIPSegTextModel` alone.
    "tiny-text-tower": dict(
        model="text",
        config=dict(
            text_config=dict(
                vocab_size=300, hidden_size=48, intermediate_size=60, num_hidden_layers=3, num_attention_heads=2,
                max_position_embeddings=20, hidden_act="gelu_new",
                bos_token_id=297, eos_token_id=298, pad_token_id=1,
            ),
            vision_config=dict(
                hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=1,
                image_size=16, patch_size=16,
            ),
            projection_dim=16,
        ),
        cases=["text", "text-unmasked", "text-left-padding", "text-holes", "text-positions", "text-longest"],
    ),
    # A `CLIPSegVisionModel` alone, of four channels, and images of other sizes and shapes than it was trained for.
    "tiny-vision-tower": dict(
        model="vision",
        config=dict(
            text_config=dict(
                vocab_size=8, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=1,
            ),
            vision_config=dict(
                hidden_size=40, intermediate_size=48, num_hidden_layers=2, num_attention_heads=5, num_channels=4,
                image_size=64, patch_size=16, hidden_act="quick_gelu",
            ),
            projection_dim=16,
        ),
        cases=["vision", "vision-one", "vision-five", "vision-larger", "vision-oblong", "vision-same-count"],
    ),
    # Negative layers, which Python counts from the end of the hidden states: -1 is what enters the first layer, -2 the last
    # layer's output, -5 the first's.
    "tiny-negative-layers": dict(
        config=dict(
            text_config=dict(
                vocab_size=200, hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2,
                max_position_embeddings=12, hidden_act="quick_gelu",
                bos_token_id=198, eos_token_id=199, pad_token_id=199,
            ),
            vision_config=dict(
                hidden_size=32, intermediate_size=40, num_hidden_layers=4, num_attention_heads=4,
                image_size=32, patch_size=8, hidden_act="quick_gelu",
            ),
            projection_dim=12, extract_layers=[-2, -1, 1, -5, -6], reduce_dim=16, decoder_num_attention_heads=2,
            decoder_intermediate_size=24, conditional_layer=1, use_complex_transposed_convolution=False,
        ),
        cases=["segmentation", "segmentation-image", "segmentation-embeddings"],
    ),
    # A `conditional_layer` that is not the number of any step, so the condition has no effect. The decoder
    # reads the embeddings' output alone.
    "tiny-unconditioned": dict(
        config=dict(
            text_config=dict(
                vocab_size=200, hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2,
                max_position_embeddings=12, hidden_act="quick_gelu",
                bos_token_id=198, eos_token_id=199, pad_token_id=199,
            ),
            vision_config=dict(
                hidden_size=24, intermediate_size=32, num_hidden_layers=2, num_attention_heads=3,
                image_size=32, patch_size=16, hidden_act="quick_gelu",
            ),
            projection_dim=12, extract_layers=[-1], reduce_dim=16, decoder_num_attention_heads=2,
            decoder_intermediate_size=24, conditional_layer=-1, use_complex_transposed_convolution=True,
        ),
        cases=["segmentation", "segmentation-embeddings"],
    ),
}  # fmt: skip
