import type { JsonObject } from '@posttrain/lm';
import { ApiError } from './api-error.js';
import { Fields } from './fields.js';
import type { Reply } from './reply.js';
import type { RequestContext } from './run-completions.js';

/**
 * `POST /v1/load_lora_adapter { lora_name, lora_path, load_inplace }`, as vLLM has it, for adapters of any method. `base_model_name`
 * says of which model, where several take adapters, and `weight_version` what answers call these weights; `is_3d_lora_weight` is read from the file. @throws ApiError
 */
export async function loadLoraAdapter(body: JsonObject, { models }: RequestContext): Promise<Reply> {
  const fields = new Fields(body);
  fields.refuseUnknown([
    'lora_name',
    'lora_path',
    'load_inplace',
    'is_3d_lora_weight',
    'base_model_name',
    'weight_version',
    'pinned',
  ]);
  const [name, path] = [fields.string('lora_name'), fields.string('lora_path')];
  if (!name || !path) throw missing("Both 'lora_name' and 'lora_path' must be provided.");
  fields.boolean('is_3d_lora_weight');
  const inPlace = fields.boolean('load_inplace') ?? false;
  // SGLang's: an adapter stays until it is unloaded.
  fields.boolean('pinned');
  const [base, version] = [fields.string('base_model_name'), fields.string('weight_version')];
  if (version !== undefined && version.length > MOST_VERSION)
    throw missing(`'weight_version' has at most ${MOST_VERSION} characters.`);
  await models.load({ name, path, inPlace, base, version });
  return { kind: 'text', text: `Success: LoRA adapter '${name}' added successfully.` };
}

/** It is in every answer. */
const MOST_VERSION = 200;

/** `POST /v1/unload_lora_adapter { lora_name }`, as vLLM has it. What was asked for with the adapter is finished. @throws ApiError */
export async function unloadLoraAdapter(body: JsonObject, { models }: RequestContext): Promise<Reply> {
  const fields = new Fields(body);
  fields.refuseUnknown(['lora_name', 'lora_int_id']);
  const name = fields.string('lora_name');
  if (!name) throw missing("'lora_name' needs to be provided to unload a LoRA adapter.");
  await models.unload(name);
  return { kind: 'text', text: `Success: LoRA adapter '${name}' removed successfully.` };
}

const missing = (message: string): ApiError =>
  new ApiError(400, message, { type: 'InvalidUserInput', apiCode: 'missing_required_parameter' });
