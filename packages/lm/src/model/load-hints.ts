/** What transformers' `from_pretrained` has, and is said otherwise here. */
export const LOAD_HINTS: Readonly<Record<string, string>> = Object.fromEntries(
  [
    [['load_in_4bit', 'loadIn4bit'], "Write quantization: { method: 'nf4' }."],
    [['load_in_8bit', 'loadIn8bit'], "Write quantization: { method: 'int8' }."],
    [['quantization_config', 'quantizationConfig'], "Write quantization: { method: 'nf4' }, or another method."],
    [['torch_dtype', 'torchDtype', 'dtype'], 'Weights become float32, or what quantization says; save has a dtype.'],
  ].flatMap(([names, hint]) => (names as string[]).map((name) => [name, hint as string] as const)),
);
