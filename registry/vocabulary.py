"""What identifiers are called in words: languages, methods, kinds. For people and for search."""

METHODS = {
    "seq_bn": "Bottleneck",
    "double_seq_bn": "Double bottleneck",
    "par_bn": "Parallel bottleneck",
    "scaled_par_bn": "Scaled parallel bottleneck",
    "bottleneck": "Bottleneck",
    "seq_bn_inv": "Bottleneck, invertible",
    "double_seq_bn_inv": "Double bottleneck, invertible",
    "adapter_plus": "Adapter+",
    "compacter": "Compacter",
    "compacter++": "Compacter++",
    "embedding_rows": "Embedding rows",
    "prefix_tuning": "Prefix tuning",
    "prefix_tuning_flat": "Prefix tuning, flat",
    "prompt_tuning": "Prompt tuning",
    "lora": "LoRA",
    "dora": "DoRA",
    "vera": "VeRA",
    "dvora": "DVoRA",
    "mtl_lora": "MTL-LoRA",
    "ia3": "(IA)³",
    "loreft": "LoReFT",
    "noreft": "NoReFT",
    "direft": "DiReFT",
    "reft": "ReFT",
    "mam": "Mix-and-Match",
    "unipelt": "UniPELT",
    "union": "Union",
    "fusion": "AdapterFusion",
    "head": "Prediction head",
    "embedding": "Token embeddings",
    "setup": "Set-up",
    "peft:lora": "PEFT's LoRA",
    "peft:ia3": "PEFT's (IA)³",
    "peft:prefix_tuning": "PEFT's prefix tuning",
    "peft:prompt_tuning": "PEFT's prompt tuning",
    "peft_lora": "PEFT's LoRA",
    "peft_ia3": "PEFT's (IA)³",
    "peft_prefix": "PEFT's prefix tuning",
    "peft_prompt": "PEFT's prompt tuning",
    "own_biases": "Own biases",
    "own_modules": "Own modules",
}

KINDS = {
    "task": "Task adapter",
    "language": "Language adapter",
    "fusion": "Fusion layer",
    "head": "Prediction head",
    "embedding": "Embedding",
    "setup": "Set-up",
}

FACETS = {
    "kind": "Kind",
    "language": "Language",
    "task": "Task",
    "method": "Method",
    "base": "Base model",
    "licence": "Licence",
}
"""By which the catalogue is narrowed down, in the order of the page."""

STATES = {
    "live": "Live",
    "deprecated": "Deprecated",
    "yanked": "Yanked",
    "quarantined": "Quarantined",
    "removed": "Removed",
}


def language_name(tag: str) -> str:
    """Return a language's English name, with the rest of its tag; the tag itself if unknown.

    >>> language_name("zh-Hant"), language_name("tlh")
    ('Chinese (Hant)', 'tlh')
    """
    code, _, rest = tag.partition("-")
    name = LANGUAGES.get(code)
    if name is None:
        return tag
    return f"{name} ({rest})" if rest else name


def is_language(tag: str) -> bool:
    """Whether a card's word for a language is a tag whose language we know."""
    return tag.partition("-")[0] in LANGUAGES


def method_name(method: str) -> str:
    """Return what a method is called.

    >>> method_name("lora"), method_name("par_bn|prefix_tuning")
    ('LoRA', 'Parallel bottleneck + prefix tuning')
    """
    first, *others = [METHODS.get(part, part) for part in method_parts(method)]
    return " + ".join([first, *(_inside(name) for name in others)])


def method_parts(method: str) -> list[str]:
    """Return the methods of a union, whose identifier joins theirs by `|`."""
    return method.split("|")


def _inside(name: str) -> str:
    """Return a name as it stands inside a phrase: `embedding rows`, but `LoRA`."""
    return name[0].lower() + name[1:] if name.partition(" ")[0][1:].islower() else name


def label(facet: str, value: str) -> str:
    """Return what a facet's value is called."""
    if facet == "language":
        return language_name(value)
    if facet == "method":
        return method_name(value)
    if facet == "kind":
        return KINDS.get(value, value)
    return task_name(value) if facet == "task" else value


def task_name(task: str) -> str:
    """Return a task as a phrase; what looks like a name stays as it is.

    >>> task_name("token-classification"), task_name("NER")
    ('Token classification', 'NER')
    """
    words = task.replace("-", " ").replace("_", " ")
    return words[:1].upper() + words[1:]


# ISO 639-1, and the languages without a two-letter code for which adapters are trained.
LANGUAGES = dict(
    entry.split(" ", 1)
    for entry in """
aa Afar|ab Abkhazian|ae Avestan|af Afrikaans|ak Akan|am Amharic|an Aragonese|ar Arabic|as Assamese
av Avaric|ay Aymara|az Azerbaijani|ba Bashkir|be Belarusian|bg Bulgarian|bi Bislama|bm Bambara
bn Bengali|bo Tibetan|br Breton|bs Bosnian|ca Catalan|ce Chechen|ch Chamorro|co Corsican|cr Cree
cs Czech|cu Church Slavic|cv Chuvash|cy Welsh|da Danish|de German|dv Divehi|dz Dzongkha|ee Ewe
el Greek|en English|eo Esperanto|es Spanish|et Estonian|eu Basque|fa Persian|ff Fulah|fi Finnish
fj Fijian|fo Faroese|fr French|fy Western Frisian|ga Irish|gd Scottish Gaelic|gl Galician|gn Guarani
gu Gujarati|gv Manx|ha Hausa|he Hebrew|hi Hindi|ho Hiri Motu|hr Croatian|ht Haitian Creole
hu Hungarian|hy Armenian|hz Herero|ia Interlingua|id Indonesian|ie Interlingue|ig Igbo|ii Sichuan Yi
ik Inupiaq|io Ido|is Icelandic|it Italian|iu Inuktitut|ja Japanese|jv Javanese|ka Georgian|kg Kongo
ki Kikuyu|kj Kuanyama|kk Kazakh|kl Kalaallisut|km Khmer|kn Kannada|ko Korean|kr Kanuri|ks Kashmiri
ku Kurdish|kv Komi|kw Cornish|ky Kyrgyz|la Latin|lb Luxembourgish|lg Ganda|li Limburgish|ln Lingala
lo Lao|lt Lithuanian|lu Luba-Katanga|lv Latvian|mg Malagasy|mh Marshallese|mi Maori|mk Macedonian
ml Malayalam|mn Mongolian|mr Marathi|ms Malay|mt Maltese|my Burmese|na Nauru|nb Norwegian Bokmål
nd North Ndebele|ne Nepali|ng Ndonga|nl Dutch|nn Norwegian Nynorsk|no Norwegian|nr South Ndebele
nv Navajo|ny Chichewa|oc Occitan|oj Ojibwa|om Oromo|or Odia|os Ossetian|pa Punjabi|pi Pali|pl Polish
ps Pashto|pt Portuguese|qu Quechua|rm Romansh|rn Rundi|ro Romanian|ru Russian|rw Kinyarwanda
sa Sanskrit|sc Sardinian|sd Sindhi|se Northern Sami|sg Sango|si Sinhala|sk Slovak|sl Slovenian
sm Samoan|sn Shona|so Somali|sq Albanian|sr Serbian|ss Swati|st Southern Sotho|su Sundanese
sv Swedish|sw Swahili|ta Tamil|te Telugu|tg Tajik|th Thai|ti Tigrinya|tk Turkmen|tl Tagalog
tn Tswana|to Tongan|tr Turkish|ts Tsonga|tt Tatar|tw Twi|ty Tahitian|ug Uyghur|uk Ukrainian|ur Urdu
uz Uzbek|ve Venda|vi Vietnamese|vo Volapük|wa Walloon|wo Wolof|xh Xhosa|yi Yiddish|yo Yoruba
za Zhuang|zh Chinese|zu Zulu|arz Egyptian Arabic|ast Asturian|bar Bavarian|bcl Central Bikol
bho Bhojpuri|bxr Russia Buriat|cdo Min Dong|ceb Cebuano|ckb Central Kurdish|crh Crimean Tatar
diq Zazaki|fil Filipino|fro Old French|got Gothic|grc Ancient Greek|gsw Swiss German
hsb Upper Sorbian|ilo Iloko|jam Jamaican Creole
kmr Northern Kurdish|koi Komi-Permyak|kpv Komi-Zyrian|krl Karelian
lij Ligurian|lzh Classical Chinese|mdf Moksha|mhr Eastern Mari|min Minangkabau|mul Several languages
myv Erzya|mzn Mazanderani|nds Low German|new Newari|nso Northern Sotho|olo Livvi|pap Papiamento
pcm Nigerian Pidgin|pms Piedmontese|quy Ayacucho Quechua|quz Cusco Quechua|sah Yakut|scn Sicilian
sco Scots|sme Northern Sami|sms Skolt Sami|swg Swabian|syr Syriac|tpi Tok Pisin|tyv Tuvinian
udm Udmurt|und Undetermined|vec Venetian|vep Veps|war Waray|wbp Warlpiri|wuu Wu Chinese|xal Kalmyk
xmf Mingrelian|yue Cantonese|zxx No language
""".strip()
    .replace("\n", "|")
    .split("|")
)
