import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CausalLM, ChatTemplate, networkOf, parseModelConfig, Tokenizer } from '@posttrain/lm';
import { describe, expect, it } from 'vitest';
import { type SftRow, type TokenizeOptions, tokenizeRows } from '../src/index.js';

interface Case {
  readonly tokenizer: string;
  readonly template: string | null;
  readonly options: {
    readonly completion_only_loss?: boolean;
    readonly assistant_only_loss?: boolean;
    readonly max_length?: number;
    readonly truncation_mode?: 'keep_start' | 'keep_end';
  };
  readonly rows: readonly SftRow[];
  readonly input_ids?: readonly number[][];
  readonly labels?: readonly number[][];
  readonly error?: string;
}
const goldens = join(import.meta.dirname, '../../../goldens');
const { cases } = JSON.parse(await readFile(join(goldens, 'sft/masks.json'), 'utf8')) as { cases: Case[] };

/** A model that has the tokenizer and nothing else. */
async function modelWith(name: string, template: string | null): Promise<CausalLM> {
  const tokenizer = await Tokenizer.load(join(goldens, 'tokenizers', name));
  const config = parseModelConfig({
    model_type: 'llama',
    vocab_size: 1024,
    hidden_size: 4,
    intermediate_size: 4,
    num_hidden_layers: 1,
    num_attention_heads: 1,
    max_position_embeddings: 512,
  });
  const chatTemplate = template === null ? await ChatTemplate.load(tokenizer) : new ChatTemplate(tokenizer, template);
  return new CausalLM({ config, weights: {}, tokenizer, chatTemplate, name }, networkOf(config));
}

const optionsOf = ({ options }: Case): TokenizeOptions => ({
  ...(options.completion_only_loss !== undefined && { completionOnlyLoss: options.completion_only_loss }),
  ...(options.assistant_only_loss !== undefined && { assistantOnlyLoss: options.assistant_only_loss }),
  ...(options.max_length !== undefined && { maxLength: options.max_length }),
  ...(options.truncation_mode !== undefined && { truncationMode: options.truncation_mode }),
});

describe('tokenizeRows', () => {
  it.each(cases.map((value, i) => [i, value.tokenizer, value.options, value] as const))(
    'gives TRL’s tokens and labels: case %i, %s %j',
    async (_, __, ___, value) => {
      const model = await modelWith(value.tokenizer, value.template);
      const { rows, dropped } = tokenizeRows(model, value.rows, optionsOf(value));
      if (value.error !== undefined) {
        // TRL needs markers in the template; here this template's assistant tokens are found without them.
        expect(rows).toHaveLength(value.rows.length);
        return;
      }
      expect(rows.map(({ tokens }) => tokens)).toEqual(value.input_ids);
      const labels = rows.map(({ tokens, mask }) => tokens.map((id, t) => (mask[t] === 1 ? id : -100)));
      expect(labels).toEqual(value.labels);
      expect(dropped).toBe(value.rows.length - value.input_ids!.length);
    },
  );

  describe('an assistant’s message of weight 0', () => {
    const marks = ['{% generation %}', '{% endgeneration %}'];
    const templateOf = (open: string, close: string) =>
      `{% for m in messages %}<{{ m.role }}>{% if m.role == 'assistant' %}${open}{{ m.content }}<|im_end|>${close}` +
      '{% else %}{{ m.content }}<|im_end|>{% endif %}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}';
    // A second block in the message: which one a block belongs to is then counted.
    const twoBlocks = templateOf(marks.join('x'), '').replace(
      '{{ m.content }}<|im_end|>',
      `${marks[0]}{{ m.content }}<|im_end|>${marks[1]}`,
    );
    const templates = { plain: templateOf('', ''), marked: templateOf(marks[0]!, marks[1]!), twoBlocks };
    const conversation = [
      { role: 'user', content: 'one' },
      { role: 'assistant', content: 'bad', weight: 0 },
      { role: 'user', content: 'two' },
      { role: 'assistant', content: 'good', weight: 1 },
    ];
    const trainedText = async (template: string, row: SftRow, options: TokenizeOptions) => {
      const model = await modelWith('byte-level-bpe', template);
      const [{ tokens, mask } = { tokens: [], mask: [] }] = tokenizeRows(model, [row], options).rows;
      return model.tokenizer.decode(
        tokens.filter((_, t) => mask[t] === 1),
        { skipSpecialTokens: false },
      );
    };

    it.each(Object.entries(templates))('is not trained (%s)', async (_, template) => {
      const only = await trainedText(template, { messages: conversation }, { assistantOnlyLoss: true });
      expect(only).toContain('good<|im_end|>');
      expect(only).not.toMatch(/bad|one|two/);
      const all = await trainedText(template, { messages: conversation }, {});
      for (const text of ['one', 'two', 'good<|im_end|>', '<assistant>']) expect(all).toContain(text);
      expect(all).not.toContain('bad');
      const [first, ...completion] = conversation;
      const tail = await trainedText(template, { prompt: [first], completion }, {});
      expect(tail).toContain('two');
      expect(tail).not.toMatch(/bad|one/);
    });

    it('is what the template sees without its weight', async () => {
      const printsAll = '{% for m in messages %}{{ m | tojson }}{% endfor %}<|im_end|>';
      expect(await trainedText(printsAll, { messages: [conversation[3]] }, {})).toBe(
        '{"role": "assistant", "content": "good"}<|im_end|>',
      );
    });

    it('nor are turns before the last, where only that is asked for: all that follows what the user said last', async () => {
      const calls = [...conversation, { role: 'tool', content: 'seven' }, { role: 'assistant', content: 'so seven' }];
      const options = { lastTurnOnlyLoss: true };
      for (const template of Object.values(templates)) {
        expect(
          await trainedText(template, { messages: conversation.slice(0, 2).map(({ weight: _, ...m }) => m) }, options),
        ).toContain('bad<|im_end|>');
        const last = await trainedText(template, { messages: calls }, options);
        expect(last.replaceAll('x', '')).toBe('good<|im_end|>so seven<|im_end|>');
        const silent = calls.map((m) => (m.content === 'so seven' ? { ...m, weight: 0 } : m));
        expect(await trainedText(template, { messages: silent }, options)).not.toContain('seven');
      }
      await expect(trainedText(templates.plain, { text: 'one' }, options)).rejects.toThrow(
        /row 0: is a text, and lastTurnOnlyLoss is/,
      );
    });

    it('is no reason to train answers that never end: a template without an end token is refused with its remedy', async () => {
      const open = templates.plain.replaceAll('<|im_end|>', '');
      await expect(trainedText(open, { messages: conversation }, {})).rejects.toThrow(
        /row 0: the chat template puts nothing behind the assistant's last message.*Put \{\{ eos_token \}\} \(<\|im_end\|>\) behind/,
      );
      const [prompt, ...completion] = conversation.slice(2);
      await expect(trainedText(open, { prompt: [prompt], completion }, {})).rejects.toThrow(/puts nothing behind/);
      // What the user says last has no end to learn, and neither has what is not trained.
      expect(await trainedText(open, { messages: conversation.slice(2, 3) }, {})).toContain('two');
      expect(await trainedText(`${open}[end]`, { messages: conversation.slice(2) }, {})).toContain('good[end]');
      expect(await trainedText(`${open}<|im_end|>\n`, { messages: conversation.slice(2) }, {})).toContain(
        'good<|im_end|>',
      );
    });

    it.each([
      [{ role: 'assistant', content: 'x', weight: 0.5 }, /messages\[1\].weight is 0.5; it is 0 or 1/],
      [
        { role: 'user', content: 'x', weight: 0 },
        /messages\[1\].weight is 0; it is 0 or 1, and of the assistant's messages only/,
      ],
      [{ role: 'assistant', content: 'x', weight: 0 }, /trains no token|no token is/],
    ])('is refused where it means nothing: %j', async (message, problem) => {
      const row = { messages: [{ role: 'user', content: 'one' }, message] };
      await expect(trainedText(templates.plain, row, { assistantOnlyLoss: true })).rejects.toThrow(problem);
    });
  });

  it('gives templates the arguments of calls as they are served: as objects, also where the row has JSON text', async () => {
    const template =
      '{% for m in messages %}{% for c in m.tool_calls %}{{ c.function.arguments.city }}{% endfor %}{% endfor %}<|im_end|>';
    const model = await modelWith('byte-level-bpe', template);
    const call = (args: unknown) => [{ type: 'function', function: { name: 'weather', arguments: args } }];
    const row = (args: unknown) => ({ messages: [{ role: 'assistant', content: null, tool_calls: call(args) }] });
    const [object, text] = tokenizeRows(model, [row({ city: 'Paris' }), row('{"city": "Paris"}')]).rows;
    expect(model.tokenizer.decode([...text!.tokens])).toBe('Paris<|im_end|>');
    expect(text).toEqual(object);
    expect(() => tokenizeRows(model, [row('Paris')])).toThrow(
      /messages\[0\].tool_calls\[0\]: its arguments are text, but not the JSON/,
    );
  });

  it('trains the calls of tools and what is said of their results, and never the results', async () => {
    const template =
      '{{ tools | map(attribute="function.name") | join(",") }}{% for m in messages %}<{{ m.role }}>{{ m.content or "" }}' +
      '{% for c in m.tool_calls or [] %}[{{ c.function.name }} {{ c.function.arguments.city }}]{% endfor %}<|im_end|>' +
      '{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}';
    const model = await modelWith('byte-level-bpe', template);
    const messages = [
      { role: 'user', content: 'Rain in Oslo?' },
      {
        role: 'assistant',
        content: null,
        tool_calls: [{ type: 'function', function: { name: 'weather', arguments: '{"city": "Oslo"}' } }],
      },
      { role: 'tool', content: 'wet' },
      { role: 'assistant', content: 'Yes.' },
    ];
    const tools = JSON.stringify([{ type: 'function', function: { name: 'weather', parameters: {} } }]);
    const trained = (options: TokenizeOptions) => {
      const [{ tokens, mask } = { tokens: [], mask: [] }] = tokenizeRows(model, [{ messages, tools }], options).rows;
      expect(model.tokenizer.decode([...tokens])).toContain('weather<user>Rain in Oslo?');
      return model.tokenizer.decode(tokens.filter((_, t) => mask[t] === 1));
    };
    expect(trained({ assistantOnlyLoss: true })).toBe('[weather Oslo]<|im_end|>Yes.<|im_end|>');
    expect(trained({ lastTurnOnlyLoss: true })).toBe('[weather Oslo]<|im_end|>Yes.<|im_end|>');
  });

  it('trains the end token, also where it is the padding token', async () => {
    const model = await modelWith('byte-level-bpe', null);
    const { rows } = tokenizeRows(model, [{ prompt: '2 + 3 =', completion: ' 5' }]);
    expect(rows[0]!.tokens.at(-1)).toBe(model.tokenizer.eosId);
    expect(rows[0]!.mask.at(-1)).toBe(1);
  });

  it('counts what it cut, and prompts whose tokens change before their completion', async () => {
    const model = await modelWith('byte-level-bpe', null);
    const rows = [{ prompt: 'Say: ', completion: 'two\nlines' }, { text: 'The robot counts apples.' }];
    expect(tokenizeRows(model, rows, { maxLength: 5 })).toMatchObject({
      truncated: 2,
      dropped: 1,
      retokenizedPrompts: 1,
    });
  });

  it.each([
    [{ question: 'x' }, /row 1: has none of text, messages.*columns are question/],
    [{ prompt: 'a', completion: [{ role: 'user', content: 'b' }] }, /row 1: "prompt" must be a list/],
    [{ text: null }, /row 1: "text" must be a text, not null/],
    // biome-ignore lint/suspicious/noSparseArray: a hole is no id
    [{ input_ids: [1, , 2] }, /row 1: input_ids, position 1: undefined is no token id/],
    [{ messages: 'hello' }, /row 1: "messages" must be a list of/],
    [{ input_ids: [1, 2], labels: [1] }, /row 1: input_ids and labels must be lists/],
    [{ input_ids: [1, 2], labels: [1, -100] }, /row 1: trains no token/],
    [{ input_ids: [1] }, /row 1: trains no token/],
    [
      { input_ids: [1, -100, 2] },
      /row 1: input_ids, position 1: -100 is no token id; ids are whole numbers from 0 to 1023. \(-100 belongs/,
    ],
    [{ input_ids: [1, 1024], labels: [-100, 1024] }, /row 1: input_ids, position 1: 1024 is no token id/],
    [{ input_ids: [1, 1.5] }, /row 1: input_ids and labels must be lists of integers/],
    [{ input_ids: [1, 2, 3], labels: [-100, 2, 4] }, /row 1: labels\[2\] is 4 and input_ids\[2\] is 3/],
    [{ prompt: 'a', completion: ' ' }, /row 1: its completion is empty/],
    [{ prompt: [{ role: 'user', content: 'a' }], completion: [] }, /row 1: its completion is empty/],
    [
      { prompt: [{ role: 'user', content: 'a' }], completion: [{ role: 'assistant', content: '' }] },
      /row 1: its completion is empty/,
    ],
    [{ prompt: 1, completion: 2 }, /row 1: "prompt" must be a list of .*, or prompt and completion both texts, not 1/],
    [
      { question: 'x', answer: 'y' },
      /columns are question, answer; map them to { prompt: question, completion: answer }/,
    ],
    [{ conversations: [] }, /these are ShareGPT rows: map them with fromShareGpt of @posttrain\/data/],
    [{ instruction: 'x', output: 'y' }, /these are Alpaca rows: map them with fromAlpaca/],
    [{ chosen: 'x', rejected: 'y' }, /these are preferences: dpo of @posttrain\/rl/],
    [{ input_ids: [1, 2, 0], attention_mask: [1, 1, 0] }, /row 1: attention_mask\[2\] is 0: rows are without padding/],
    [{ input_ids: [1, 2], attention_mask: [1] }, /row 1: attention_mask must be a list as long as input_ids/],
    [{ input_ids: [1, 2], completion_mask: [0, 1] }, /row 1: has the column "completion_mask", which is not read/],
  ])('refuses %j', async (row, message) => {
    const model = await modelWith('byte-level-bpe', null);
    expect(() => tokenizeRows(model, [{ text: 'fine' }, row])).toThrow(message);
  });

  it('takes an attention_mask of ones', async () => {
    const model = await modelWith('byte-level-bpe', null);
    const { rows } = tokenizeRows(model, [{ input_ids: [1, 2, 3], attention_mask: [1, 1, 1] }]);
    expect(rows).toEqual([{ tokens: [1, 2, 3], mask: [1, 1, 1] }]);
  });

  it.each([{ text: 'a b' }, { prompt: 'a', completion: 'b' }, { input_ids: [1, 2] }])(
    'refuses assistantOnlyLoss for %j, whose tokens nobody in particular says',
    async (row) => {
      const model = await modelWith('byte-level-bpe', null);
      expect(() => tokenizeRows(model, [row], { assistantOnlyLoss: true })).toThrow(
        /row 0: is .*assistantOnlyLoss is for messages: give rows with messages, or leave the option out/,
      );
      expect(tokenizeRows(model, [row]).rows).toHaveLength(1);
    },
  );

  it('refuses conversations for a model without a template, and a length beyond the context', async () => {
    const model = await modelWith('byte-level-bpe', null);
    const { config, weights, tokenizer } = model;
    const base = new CausalLM({ config, weights, tokenizer, name: 'base' });
    const row = { messages: [{ role: 'user', content: 'hi' }] };
    expect(() => tokenizeRows(base, [row])).toThrow(/row 0: base has no chat template/);
    expect(() => tokenizeRows(model, [row], { maxLength: 513 })).toThrow(/from 2 to the context's 512/);
  });
});
