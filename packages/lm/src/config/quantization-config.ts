import { InvalidModelFileError, isJsonObject, type JsonObject } from '../files.js';

/** What `config.json` says of quantised weights. */
export type QuantizationConfig = BitsandbytesConfig | PackedConfig;

/** Of weights that compressed-tensors packed (`pack-quantized`): 4-bit integers in blocks of a row. */
export interface PackedConfig {
  readonly method: 'int4';
  readonly blockSize: number;
  readonly symmetric: boolean;
  /** Linear layers that were left as they are, the output layer among them. */
  readonly skipModules: readonly string[];
}

/** Of weights that bitsandbytes quantised. How each is stored is in its own tensors. */
export interface BitsandbytesConfig {
  readonly method: 'nf4' | 'fp4' | 'int8';
  readonly doubleQuantization: boolean;
  /** Of LLM.int8(): feature columns in which some |x| reaches it are multiplied as floats. */
  readonly threshold: number;
  /** Modules that were left as they are; null: the output layer only. */
  readonly skipModules: readonly string[] | null;
}

/**
 * Reads `quantization_config` of a `config.json`.
 *
 * @throws InvalidModelFileError for other methods than bitsandbytes' and compressed-tensors' pack-quantized in 4 bits
 */
export function parseQuantizationConfig(path: string, json: unknown): QuantizationConfig {
  const fail = (problem: string): never => {
    throw new InvalidModelFileError(path, `quantization_config: ${problem}`);
  };
  if (!isJsonObject(json)) return fail('must be an object.');
  if (json.quant_method === 'compressed-tensors') return parsePacked(json, fail);
  if (json.quant_method !== 'bitsandbytes') {
    return fail(
      `quant_method ${JSON.stringify(json.quant_method)} is not supported, only "bitsandbytes" and "compressed-tensors"; save the model unquantised first.`,
    );
  }
  const { bnb_4bit_quant_type: type = 'fp4', llm_int8_threshold: threshold = 6, llm_int8_skip_modules: skip } = json;
  const method = json.load_in_8bit === true ? 'int8' : json.load_in_4bit === true ? type : undefined;
  if (method !== 'nf4' && method !== 'fp4' && method !== 'int8') {
    return fail('must have load_in_8bit, or load_in_4bit with bnb_4bit_quant_type "nf4" or "fp4".');
  }
  if (typeof threshold !== 'number') return fail('llm_int8_threshold must be a number.');
  const isList = Array.isArray(skip) && skip.every((name) => typeof name === 'string');
  return {
    method,
    doubleQuantization: json.bnb_4bit_use_double_quant === true,
    threshold,
    skipModules: isList ? skip : null,
  };
}

/** What is read of the parameters of a group's weights; anything else there would change what the numbers are. */
const PACKED_WEIGHTS: JsonObject = { num_bits: 4, type: 'int', strategy: 'group', dynamic: false };

function parsePacked(json: JsonObject, fail: (problem: string) => never): PackedConfig {
  const { format, config_groups: groups, ignore, kv_cache_scheme: cache } = json;
  if (format !== 'pack-quantized') fail(`format ${JSON.stringify(format)} is not supported, only "pack-quantized".`);
  if (cache !== null && cache !== undefined) fail('kv_cache_scheme is not supported.');
  const all = isJsonObject(groups) ? Object.values(groups) : [];
  const [group] = all;
  if (all.length !== 1 || !isJsonObject(group)) return fail('config_groups must have one group.');
  if (JSON.stringify(group.targets) !== '["Linear"]') fail('config_groups: targets must be ["Linear"].');
  const inputs = [group.input_activations, group.output_activations].find((x) => x !== null && x !== undefined);
  if (inputs !== undefined) fail('config_groups: activations must not be quantised.');
  const { weights } = group;
  if (!isJsonObject(weights)) return fail('config_groups: weights must be an object.');
  for (const [key, value] of Object.entries(PACKED_WEIGHTS)) {
    if (weights[key] !== value)
      fail(`weights: ${key} is ${JSON.stringify(weights[key])}; only ${JSON.stringify(value)} is read.`);
  }
  const { group_size: blockSize, symmetric, actorder } = weights;
  if (![16, 32, 64, 128, 256].includes(blockSize as number)) {
    fail(`weights: group_size is ${JSON.stringify(blockSize)}; only 16, 32, 64, 128 and 256 are read.`);
  }
  if (typeof symmetric !== 'boolean') return fail('weights: symmetric must be true or false.');
  if (actorder === 'group') fail('weights: actorder "group" is not supported.');
  const isList = Array.isArray(ignore) && ignore.every((name) => typeof name === 'string');
  return { method: 'int4', blockSize: blockSize as number, symmetric, skipModules: isList ? ignore : [] };
}

/** `quantization_config` as transformers writes it. */
export function quantizationConfigToJson(config: QuantizationConfig): JsonObject {
  return config.method === 'int4' ? packedToJson(config) : bitsandbytesToJson(config);
}

function packedToJson({ blockSize, symmetric, skipModules }: PackedConfig): JsonObject {
  const weights = {
    num_bits: 4,
    type: 'int',
    symmetric,
    group_size: blockSize,
    strategy: 'group',
    block_structure: null,
    dynamic: false,
    actorder: null,
    scale_dtype: null,
    zp_dtype: symmetric ? null : 'torch.int8',
    observer: null,
    observer_kwargs: {},
  };
  const group = { targets: ['Linear'], weights, input_activations: null, output_activations: null, format: null };
  return {
    config_groups: { group_0: group },
    quant_method: 'compressed-tensors',
    kv_cache_scheme: null,
    format: 'pack-quantized',
    quantization_status: 'compressed',
    global_compression_ratio: null,
    ignore: [...skipModules],
  };
}

function bitsandbytesToJson(config: BitsandbytesConfig): JsonObject {
  const eight = config.method === 'int8';
  return {
    _load_in_4bit: !eight,
    _load_in_8bit: eight,
    bnb_4bit_compute_dtype: 'float32',
    bnb_4bit_quant_storage: 'uint8',
    bnb_4bit_quant_type: eight ? 'fp4' : config.method,
    bnb_4bit_use_double_quant: config.doubleQuantization,
    llm_int8_enable_fp32_cpu_offload: false,
    llm_int8_has_fp16_weight: false,
    llm_int8_skip_modules: config.skipModules,
    llm_int8_threshold: config.threshold,
    load_in_4bit: !eight,
    load_in_8bit: eight,
    quant_method: 'bitsandbytes',
  };
}
