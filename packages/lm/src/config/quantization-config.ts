import { InvalidModelFileError, isJsonObject, type JsonObject } from '../files.js';

/** What `config.json` says of quantised weights. */
export type QuantizationConfig = BitsandbytesConfig | PackedConfig | GroupedConfig | SmallFloatConfig;

/** Of weights in small floats with scales, which are read as float32. */
export interface SmallFloatConfig {
  readonly method: 'fp8' | 'mxfp4' | 'nvfp4';
  /** Rows and columns that share a scale, where the file says so. */
  readonly block?: readonly [rows: number, columns: number];
  /** What `config.json` says. */
  readonly json: JsonObject;
}

/** Of weights that GPTQ's or AWQ's own tools packed: 4-bit integers in groups of a row. */
export interface GroupedConfig {
  readonly method: 'gptq' | 'awq';
  /** −1: a whole row. */
  readonly groupSize: number;
  /** GPTQ's `desc_act`. */
  readonly actOrder: boolean;
  /** `checkpoint_format` of GPTQ: 1 is `gptq`, whose zeros are stored one less, 0 is `gptq_v2` and AWQ. */
  readonly zeroOffset: 0 | 1;
  readonly symmetric: boolean;
  /** Whether the output layer is quantised too. */
  readonly head: boolean;
  /** Modules that were left as they are; null: none that are named. */
  readonly skipModules: readonly string[] | null;
}

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
 * @throws InvalidModelFileError for other methods than bitsandbytes', compressed-tensors' pack-quantized, GPTQ's and AWQ's, the last three in 4 bits, and
 * small floats (`fp8`, `fbgemm_fp8`, `mxfp4`, `modelopt` in FP8 or NVFP4, compressed-tensors' float formats)
 */
export function parseQuantizationConfig(path: string, json: unknown): QuantizationConfig {
  const fail = (problem: string): never => {
    throw new InvalidModelFileError(path, `quantization_config: ${problem}`);
  };
  if (!isJsonObject(json)) return fail('must be an object.');
  const small = parseSmallFloats(json, fail);
  if (small) return small;
  if (json.quant_method === 'compressed-tensors') return parsePacked(json, fail);
  if (json.quant_method === 'gptq') return parseGptq(json, fail);
  if (json.quant_method === 'awq') return parseAwq(json, fail);
  if (json.quant_method !== 'bitsandbytes') {
    return fail(
      `quant_method ${JSON.stringify(json.quant_method)} is not supported, only "bitsandbytes", "compressed-tensors", "gptq", "awq", "fp8", "fbgemm_fp8", "mxfp4" and "modelopt"; save the model unquantised first.`,
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

type Fail = (problem: string) => never;

/** Small floats of any tool; undefined for other weights. Inputs that a tool would round, too, are not rounded here. */
function parseSmallFloats(json: JsonObject, fail: Fail): SmallFloatConfig | undefined {
  switch (json.quant_method) {
    case 'fp8': {
      const { fmt = 'e4m3', weight_block_size: block } = json;
      if (fmt !== 'e4m3') fail(`fmt ${JSON.stringify(fmt)} is not supported, only "e4m3".`);
      return { method: 'fp8', ...blockOf(block, fail), json };
    }
    case 'fbgemm_fp8':
      return { method: 'fp8', json };
    case 'mxfp4':
      return { method: 'mxfp4', json };
    case 'modelopt': {
      const { quant_algo: algorithm, kv_cache_quant_algo: cache } = json;
      if (algorithm !== 'FP8' && algorithm !== 'NVFP4') {
        return fail(`quant_algo ${JSON.stringify(algorithm)} of modelopt is not supported, only "FP8" and "NVFP4".`);
      }
      if (cache !== null && cache !== undefined) fail('kv_cache_quant_algo is not supported.');
      return { method: algorithm === 'FP8' ? 'fp8' : 'nvfp4', json };
    }
    case 'compressed-tensors':
      return parseCompressedFloats(json, fail);
    default:
      return undefined;
  }
}

const COMPRESSED_FLOATS: Readonly<Record<string, SmallFloatConfig['method']>> = {
  'float-quantized': 'fp8',
  'nvfp4-pack-quantized': 'nvfp4',
  'mxfp4-pack-quantized': 'mxfp4',
};

function parseCompressedFloats(json: JsonObject, fail: Fail): SmallFloatConfig | undefined {
  const { format, config_groups: groups, kv_cache_scheme: cache, quantization_status: status = 'compressed' } = json;
  if (typeof format !== 'string' || !Object.hasOwn(COMPRESSED_FLOATS, format)) return undefined;
  if (cache !== null && cache !== undefined) fail('kv_cache_scheme is not supported.');
  if (status !== 'compressed') fail(`quantization_status must be "compressed", not ${JSON.stringify(status)}.`);
  const all = isJsonObject(groups) ? Object.values(groups) : [];
  const weights = all.map((group) => (isJsonObject(group) && isJsonObject(group.weights) ? group.weights : undefined));
  const method = COMPRESSED_FLOATS[format]!;
  const bits = method === 'fp8' ? 8 : 4;
  if (weights.length === 0 || weights.some((one) => one?.type !== 'float' || one.num_bits !== bits)) {
    fail(`config_groups must have groups of weights of type "float" with num_bits ${bits}.`);
  }
  if (weights.some((one) => one!.symmetric === false)) fail('weights must be symmetric.');
  const [block, ...others] = weights.map((one) => one!.block_structure ?? null);
  if (others.some((other) => JSON.stringify(other) !== JSON.stringify(block)))
    fail('groups differ in block_structure.');
  return { method, ...blockOf(block, fail), json };
}

function blockOf(block: unknown, fail: Fail): Pick<SmallFloatConfig, 'block'> {
  if (block === null || block === undefined) return {};
  const isPair =
    Array.isArray(block) && block.length === 2 && block.every((size) => Number.isSafeInteger(size) && size > 0);
  if (!isPair) return fail(`a block must be two sizes above 0, not ${JSON.stringify(block)}.`);
  return { block: block as unknown as readonly [number, number] };
}

function parseGptq(json: JsonObject, fail: (problem: string) => never): GroupedConfig {
  const {
    // Newer tools say it as `format`.
    checkpoint_format: format = json.format ?? 'gptq',
    desc_act: actOrder = false,
    sym: symmetric = true,
    lm_head: head = false,
  } = json;
  if (format !== 'gptq' && format !== 'gptq_v2') {
    return fail(`checkpoint_format ${JSON.stringify(format)} is not supported, only "gptq" and "gptq_v2".`);
  }
  if (![actOrder, symmetric, head].every((flag) => typeof flag === 'boolean')) {
    return fail('desc_act, sym and lm_head must be true or false.');
  }
  const dynamic = json.dynamic ?? {};
  if (!isJsonObject(dynamic) || Object.keys(dynamic).length > 0) fail('dynamic, options by module, is not supported.');
  const flags = { actOrder: actOrder as boolean, symmetric: symmetric as boolean, head: head as boolean };
  return { method: 'gptq', ...groupsOf(json, fail), ...flags, zeroOffset: format === 'gptq' ? 1 : 0 };
}

function parseAwq(json: JsonObject, fail: (problem: string) => never): GroupedConfig {
  const { version = json.format ?? 'gemm', zero_point: zeroPoint = true } = json;
  if (typeof version !== 'string' || version.toLowerCase() !== 'gemm') {
    return fail(`version ${JSON.stringify(version)} is not supported, only "gemm".`);
  }
  if (zeroPoint !== true) return fail('zero_point must be true.');
  const flags = { actOrder: false, symmetric: false, head: false, zeroOffset: 0 } as const;
  return { method: 'awq', ...groupsOf(json, fail), ...flags };
}

function groupsOf(
  json: JsonObject,
  fail: (problem: string) => never,
): Pick<GroupedConfig, 'groupSize' | 'skipModules'> {
  const { bits, group_size: groupSize = 128, modules_to_not_convert: skip = null } = json;
  if (bits !== 4) return fail(`bits is ${JSON.stringify(bits)}; only weights of 4 are read.`);
  if (!Number.isSafeInteger(groupSize) || !(groupSize === -1 || (groupSize as number) > 0)) {
    return fail(`group_size is ${JSON.stringify(groupSize)}; it must be a whole number above 0, or -1 for whole rows.`);
  }
  const isList = Array.isArray(skip) && skip.every((name) => typeof name === 'string');
  return { groupSize: groupSize as number, skipModules: isList ? skip : null };
}

function groupedToJson({
  method,
  groupSize,
  actOrder,
  zeroOffset,
  symmetric,
  head,
  skipModules,
}: GroupedConfig): JsonObject {
  const shared = { bits: 4, group_size: groupSize, quant_method: method };
  const skipped = skipModules ? [...skipModules] : null;
  if (method === 'awq') return { ...shared, version: 'gemm', zero_point: true, modules_to_not_convert: skipped };
  const format = zeroOffset === 1 ? 'gptq' : 'gptq_v2';
  const flags = { desc_act: actOrder, sym: symmetric, lm_head: head };
  return { ...shared, checkpoint_format: format, ...flags, ...(skipped && { modules_to_not_convert: skipped }) };
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
  if ('json' in config) return config.json;
  if ('groupSize' in config) return groupedToJson(config);
  return 'blockSize' in config ? packedToJson(config) : bitsandbytesToJson(config);
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
