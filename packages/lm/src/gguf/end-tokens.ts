import type { GgufMetadata } from './metadata.js';

const KEY = 'tokenizer.ggml.';
/** `tokenizer.ggml.token_type` of what has no text. */
const UNUSED = 5;
/** Keys of tokens that end a generation: of the sequence, the turn, the message; and in code what comes behind a hole. */
const ROLES = ['eos', 'eot', 'eom', 'fim_pad', 'fim_rep', 'fim_sep'];
/**
 * Tokens that end a generation by their text, whatever the file says of them: files of chat models often name the end of a
 * text only, which such a model never writes. llama.cpp's list (`llama-vocab.cpp`, its 22 texts, and those of its roles).
 */
const TEXTS = new Set([
  ...['<|eot_id|>', '<|im_end|>', '<|end|>', '<|return|>', '<|call|>', '<|flush|>', '<|calls|>', '<end_of_turn>'],
  ...['<|endoftext|>', '</s>', '<|eom_id|>', '<EOT>', '_<EOT>', '[EOT]', '[EOS]', '<|end_of_text|>'],
  ...['<end_of_utterance>', '<eos>', '<turn|>', '<|tool_response>', '<｜end▁of▁sentence｜>', '[e~['],
  ...['<|fim_pad|>', '<fim-pad>', '<fim_pad>', '<PAD>', '[PAD]', '<|file_sep|>'],
  ...['<|fim_repo|>', '<|repo_name|>', '<fim-repo>', '<REPO>', '<reponame>'],
]);

/**
 * The ids that end a generation, those that the file names first.
 *
 * @throws InvalidGgufError for an id of no token
 */
export function endTokens(metadata: GgufMetadata): readonly number[] {
  const tokens = metadata.texts(`${KEY}tokens`) ?? [];
  const named = ROLES.flatMap((role) => ggufTokenId(metadata, role, tokens.length) ?? []);
  // Ollama's files have a list.
  const listed = metadata.numbers(`${KEY}eos_token_ids`) ?? [];
  if (!listed.every((id) => isId(id, tokens.length))) {
    metadata.fail(`${KEY}eos_token_ids`, `ids of ${tokens.length} tokens`);
  }
  const types = metadata.numbers(`${KEY}token_type`) ?? [];
  const byText = [...tokens.keys()].filter((id) => TEXTS.has(tokens[id]!) && types[id] !== UNUSED);
  const all = new Set([...named, ...listed, ...byText]);
  const texts = new Set([...all].map((id) => tokens[id]));
  const dropped: string[] = [];
  // Formats whose <|end|> ends a part of a turn only, and one whose </s> is a token of text.
  if (texts.has('<|return|>') && texts.has('<|call|>')) dropped.push('<|end|>');
  if (texts.has('<|flush|>') && (texts.has('<|call|>') || texts.has('<|calls|>'))) dropped.push('<|end|>');
  if (texts.has('<|tool_response>')) dropped.push('</s>');
  return [...all].filter((id) => !dropped.includes(tokens[id]!));
}

/** The id under `tokenizer.ggml.ROLE_token_id`; undefined when there is none. @throws InvalidGgufError for one of no token */
export function ggufTokenId(metadata: GgufMetadata, role: string, vocabulary: number): number | undefined {
  const key = `${KEY}${role}_token_id`;
  const id = metadata.number(key);
  // -1 and its like in 32 bits mean none.
  if (id === undefined || id === -1 || id === 0xffffffff) return undefined;
  return isId(id, vocabulary) ? id : metadata.fail(key, `the id of one of ${vocabulary} tokens`);
}

const isId = (id: number, vocabulary: number): boolean => Number.isInteger(id) && id >= 0 && id < vocabulary;
