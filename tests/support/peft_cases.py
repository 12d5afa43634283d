"""What PEFT can save, by kind of model; see `peft_live`."""

from itertools import product

from peft import IA3Config, LoraConfig, PrefixTuningConfig, PromptTuningConfig

from tests.support.peft_live import Case

TARGETS = {
    "bert": ("SEQ_CLS", ["query", "value"]),
    "roberta": ("TOKEN_CLS", ["query", "value"]),
    "distilbert": ("SEQ_CLS", ["q_lin", "v_lin"]),
    "electra": ("SEQ_CLS", ["query", "value"]),
    "deberta-v2": ("SEQ_CLS", ["query_proj", "value_proj"]),
    "gpt2": ("CAUSAL_LM", ["c_attn"]),
    "gptj": ("CAUSAL_LM", ["q_proj", "v_proj"]),
    "gpt_neox": ("CAUSAL_LM", ["query_key_value"]),
    "llama": ("CAUSAL_LM", ["q_proj", "v_proj"]),
    "mistral": ("CAUSAL_LM", ["q_proj", "v_proj"]),
    "qwen2": ("CAUSAL_LM", ["q_proj", "v_proj"]),
    "gemma2": ("CAUSAL_LM", ["q_proj", "v_proj"]),
    "phi3": ("CAUSAL_LM", ["qkv_proj"]),
    "t5": ("SEQ_2_SEQ_LM", ["q", "v"]),
    "mt5": ("SEQ_2_SEQ_LM", ["q", "v"]),
    "bart": ("SEQ_2_SEQ_LM", ["q_proj", "v_proj"]),
    "mbart": ("SEQ_2_SEQ_LM", ["q_proj", "v_proj"]),
}
NO_PREFIX = ("distilbert", "electra", "deberta-v2", "bert", "roberta")
"""Models, or heads, that PEFT cannot give prefixes to with the transformers of today."""
NO_PROMPT = ("distilbert", "electra")


def _methods(model_type):
    task, targets = TARGETS[model_type]
    last = targets[-1]
    yield "lora", LoraConfig(r=3, lora_alpha=7, target_modules=targets, task_type=task)
    yield "no_task", LoraConfig(r=3, target_modules=targets)
    yield "dora", LoraConfig(r=3, target_modules=targets, task_type=task, use_dora=True)
    yield (
        "patterns",
        LoraConfig(
            r=3,
            target_modules=targets,
            task_type=task,
            use_rslora=True,
            rank_pattern={targets[0]: 5},
            alpha_pattern={last: 9},
        ),
    )
    if model_type not in ("distilbert", "electra", "roberta"):  # PEFT raises on those heads
        yield "all_linear", LoraConfig(r=2, target_modules="all-linear", task_type=task)
    yield "bias_all", LoraConfig(r=2, target_modules=targets, task_type=task, bias="all")
    yield "bias_own", LoraConfig(r=2, target_modules=targets, task_type=task, bias="lora_only")
    yield "lora_bias", LoraConfig(r=2, target_modules=targets, task_type=task, lora_bias=True)
    yield "layers", LoraConfig(r=2, target_modules=targets, task_type=task, layers_to_transform=[1])
    yield "pissa", LoraConfig(r=2, target_modules=targets, init_lora_weights="pissa")
    if model_type != "gpt2":  # PEFT cannot transpose there
        yield "olora", LoraConfig(r=2, target_modules=targets, init_lora_weights="olora")
    yield "ia3", IA3Config(target_modules=targets, feedforward_modules=[], task_type=task)
    yield "ia3_inputs", IA3Config(target_modules=targets, feedforward_modules=targets)
    if model_type not in NO_PREFIX:
        yield "prefix", PrefixTuningConfig(num_virtual_tokens=3, task_type=task)
        yield (
            "prefix_mlp",
            PrefixTuningConfig(
                num_virtual_tokens=3,
                prefix_projection=True,
                encoder_hidden_size=8,
                task_type=task,
            ),
        )
    if model_type not in NO_PROMPT:
        yield "prompt", PromptTuningConfig(num_virtual_tokens=3, task_type=task)


MATRIX = [
    Case(f"{method}-{model_type}", model_type, TARGETS[model_type][0], config)
    for model_type in TARGETS
    for method, config in _methods(model_type)
]


def _special():
    def lora(name, model_type, task, targets, fields=None, **options):
        config = LoraConfig(**{"r": 2, "target_modules": targets} | options)
        return Case(name, model_type, task, config, fields or {})

    bert, gpt2, llama = ("bert", "SEQ_CLS"), ("gpt2", "CAUSAL_LM"), ("llama", "CAUSAL_LM")
    yield lora("norms", *llama, ["q_proj"], modules_to_save=["input_layernorm", "norm"])
    yield lora("pooler", *bert, ["query"], modules_to_save=["pooler", "classifier"])
    yield lora("bias_and_head", *bert, ["query"], modules_to_save=["classifier"], bias="all")
    yield lora("words", *bert, ["query"], modules_to_save=["word_embeddings"])
    yield lora("conv1d_saved", *gpt2, ["c_attn"], modules_to_save=["mlp.c_proj"])
    yield lora("expression", *bert, r".*\.layer\.1\..*(query|dense)")
    yield lora("suffix", *bert, ["attention.output.dense", "intermediate.dense"])
    yield lora("excluded", *bert, ["query", "value"], exclude_modules=r".*layer\.0.*")
    yield lora("layers_pattern", *gpt2, ["c_attn"], layers_to_transform=1, layers_pattern=["h"])
    yield lora("fan", *gpt2, ["c_attn", "c_fc", "c_proj"], fan_in_fan_out=True, use_dora=True)
    yield lora("head_adapted", *bert, ["query", "classifier"])
    yield lora("positions", *bert, ["position_embeddings", "token_type_embeddings"])
    yield lora("few_outputs", *bert, ["classifier"], r=4, init_lora_weights="olora")
    yield lora("projected", "electra", "SEQ_CLS", ["embeddings_project"])
    yield lora("two_biases", *bert, ["query"], bias="all", lora_bias=True)
    yield lora("lent_bias", "bert", "MASKED_LM", ["query"], bias="all")
    yield lora("saved_among_targets", *llama, "all-linear", modules_to_save=["0.mlp.gate_proj"])
    yield lora("saved_norms", "modernbert", "MASKED_LM", ["Wqkv"], modules_to_save=["norm"])
    whole = "model.layers.0.self_attn.q_proj"
    yield lora("whole_name", *llama, ["v_proj", whole], layers_to_transform=[1])
    layers = {"layers_to_transform": [1], "layers_pattern": ["h"]}
    yield lora("headless_layers", "gpt2", "FEATURE_EXTRACTION", ["c_attn"], **layers)
    yield lora("shared", "t5", "SEQ_2_SEQ_LM", ["q", "shared"])
    for tied, (model_type, words) in product(
        (True, False), (("llama", "embed_tokens"), ("gpt2", "wte"), ("gemma2", "embed_tokens"))
    ):
        task, targets = TARGETS[model_type]
        ends = (model_type, task)
        fields = {"tie_word_embeddings": tied}
        named = f"{model_type}-{'tied' if tied else 'untied'}"
        for name, wanted, options in (
            ("embedding", [*targets, words], {}),
            ("embedding_dora", [*targets, words], {"use_dora": True}),
            ("both_ends", [*targets, words, "lm_head"], {}),
            ("tying", [*targets, words], {"ensure_weight_tying": True}),
            ("own_embedding", targets, {"modules_to_save": [words]}),
            ("own_ends", targets, {"modules_to_save": [words, "lm_head"]}),
            ("own_tying", targets, {"modules_to_save": [words], "ensure_weight_tying": True}),
            ("tokens", targets, {"trainable_token_indices": {words: [9, 3, 4]}}),
        ):
            yield lora(f"{name}-{named}", *ends, wanted, fields, **options)
    yield Case(
        "ia3_feedforward",
        *bert,
        IA3Config(target_modules=["key", "output.dense"], feedforward_modules=["output.dense"]),
    )
    ends = IA3Config(target_modules=["wo", "o"], feedforward_modules=["o"])
    yield Case("ia3_ends_of_words", "t5", "SEQ_2_SEQ_LM", ends)
    yield Case(
        "ia3_conv1d",
        *gpt2,
        IA3Config(target_modules=["c_attn", "mlp.c_proj"], feedforward_modules=["mlp.c_proj"]),
    )
    for model_type in ("llama", "gpt2", "mistral", "qwen2", "gemma2", "phi3"):
        yield Case(
            f"last_token-{model_type}",
            model_type,
            "SEQ_CLS",
            PromptTuningConfig(num_virtual_tokens=3, task_type="SEQ_CLS"),
        )


SPECIAL = list(_special())
