import type { JsonObject } from '@posttrain/lm';
import { ApiError, invalidField } from './api-error.js';
import { Fields } from './fields.js';
import { checkPromptBytes } from './prompt-bytes.js';
import { modelOf, type Reply } from './reply.js';
import type { RequestContext } from './run-completions.js';
import { Turns } from './turns.js';

/** As in the OpenAI API. */
const MAX_TEXTS = 2048;

/** `POST /v1/embeddings`. @throws ApiError */
export async function embeddings(body: JsonObject, context: RequestContext): Promise<Reply> {
  const fields = new Fields(body);
  fields.refuseUnknown(['model', 'input', 'encoding_format', 'dimensions', 'user']);
  fields.string('user');
  const { name, model } = modelOf(fields, context);
  if (!model.embed) {
    throw new ApiError(400, `The model '${name}' gives no embeddings.`, {
      param: 'model',
      apiCode: 'unsupported_model',
    });
  }
  const format = fields.oneOf('encoding_format', ['float', 'base64']) ?? 'float';
  const dimensions = fields.integer('dimensions', { min: 1 });
  const input = fields.required('input', fields.get('input'));
  const texts: unknown[] = Array.isArray(input) ? input : [input];
  if (texts.length === 0 || texts.length > MAX_TEXTS) throw invalidField('input', `must have 1 to ${MAX_TEXTS} texts.`);
  if (!texts.every((text) => typeof text === 'string' && text !== '')) {
    throw invalidField('input', 'expected a text or a list of texts, none of them empty.', 'invalid_type');
  }
  const turns = new Turns();
  const sequences: (readonly number[])[] = [];
  for (const text of texts as string[]) {
    checkPromptBytes(model, Buffer.byteLength(text), 'input', context.maxPromptBytes);
    sequences.push(await model.tokenize(text, { addSpecialTokens: true, signal: context.signal }));
    // Many short ones take as long as a long one.
    await turns.next();
  }
  const lengths = sequences.map(({ length }) => length);
  const tooLong = lengths.findIndex((length) => length > model.contextLength);
  if (tooLong >= 0) {
    const problem = `text ${tooLong} has ${lengths[tooLong]} tokens, but the model takes ${model.contextLength}.`;
    throw invalidField('input', problem, 'context_length_exceeded');
  }
  const tokens = lengths.reduce((a, b) => a + b, 0);
  context.metrics.promptTokens.inc({ model: name }, tokens);
  const release = await context.slots.acquire(1, context.signal);
  const vectors = await model.embed(texts as string[], sequences).finally(release);
  context.signal.throwIfAborted();
  if (dimensions !== undefined && dimensions !== vectors[0]!.length) {
    throw invalidField('dimensions', `this model's embeddings have ${vectors[0]!.length}.`, 'unsupported_value');
  }
  const items: string[] = [];
  for (const [index, vector] of vectors.entries()) {
    const embedding = format === 'base64' ? base64(vector) : Array.from(vector);
    items.push(JSON.stringify({ object: 'embedding', index, embedding }));
    await turns.next();
  }
  const usage = { prompt_tokens: tokens, total_tokens: tokens };
  const end = JSON.stringify({ model: name, usage }).slice(1);
  // One text of all of them would be hundreds of megabytes for wide models.
  const pieces = items.map((item, i) => Buffer.from(i === 0 ? `{"object":"list","data":[${item}` : `,${item}`));
  return { kind: 'pieces', pieces: [...pieces, Buffer.from(`],${end}`)] };
}

/** Little-endian float32, as numpy reads it. */
function base64(vector: Float32Array): string {
  const bytes = Buffer.alloc(vector.length * 4);
  for (const [i, value] of vector.entries()) bytes.writeFloatLE(value, i * 4);
  return bytes.toString('base64');
}
