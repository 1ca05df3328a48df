import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CausalLM, ChatTemplate, parseModelConfig, Tokenizer } from '@posttrain/lm';

/** Letters, so that every text is tokens and every answer is text. */
const LETTERS = [...'abcdefghijklmnopqrstuvwxyz0123456789 .,:;?!-+=()'];

const TEMPLATE =
  "{% for message in messages %}{{ message.role[0] ~ ':' ~ message.content ~ ';' }}{% endfor %}{% if add_generation_prompt %}a:{% endif %}";

/** A random Llama over letters, with a chat template and no end token. */
export async function servedRandomModel(sizes: Readonly<Record<string, unknown>>): Promise<CausalLM> {
  const folder = mkdtempSync(join(tmpdir(), 'posttrain-letters-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  const vocab = Object.fromEntries(LETTERS.map((letter, id) => [letter, id]));
  const model = { type: 'BPE', vocab, merges: [] };
  // Without a decoder, tokens would be joined by spaces.
  const json = { version: '1.0', added_tokens: [], model, decoder: { type: 'Fuse' } };
  writeFileSync(join(folder, 'tokenizer.json'), JSON.stringify(json));
  writeFileSync(join(folder, 'tokenizer_config.json'), '{}');
  const tokenizer = await Tokenizer.load(folder);
  const config = parseModelConfig({
    model_type: 'llama',
    vocab_size: tokenizer.vocabSize,
    max_position_embeddings: 1024,
    bos_token_id: null,
    eos_token_id: null,
    initializer_range: 0.3,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    ...sizes,
  });
  const chatTemplate = new ChatTemplate(tokenizer, TEMPLATE);
  return CausalLM.initialize({ config, tokenizer, chatTemplate, name: 'random letters' }, 1);
}
