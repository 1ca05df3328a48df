import { InvalidModelFileError, isJsonObject, type JsonObject } from '../files.js';

/** What `config.json` says of weights that bitsandbytes quantised. How each is stored is in its own tensors. */
export interface QuantizationConfig {
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
 * @throws InvalidModelFileError for another method than bitsandbytes
 */
export function parseQuantizationConfig(path: string, json: unknown): QuantizationConfig {
  const fail = (problem: string): never => {
    throw new InvalidModelFileError(path, `quantization_config: ${problem}`);
  };
  if (!isJsonObject(json)) return fail('must be an object.');
  if (json.quant_method !== 'bitsandbytes') {
    return fail(
      `quant_method ${JSON.stringify(json.quant_method)} is not supported, only "bitsandbytes"; save the model unquantised first.`,
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

/** `quantization_config` as transformers writes it. */
export function quantizationConfigToJson(config: QuantizationConfig): JsonObject {
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
