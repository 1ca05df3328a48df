import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ChatMessage } from '@posttrain/interfaces';
import { beforeAll, describe, expect, it } from 'vitest';
import { generationSpans } from '../../src/chat-template/assistant-spans.js';
import type { RenderChatOptions } from '../../src/index.js';
import {
  AssistantMaskError,
  ChatTemplate,
  ChatTemplateError,
  hasGenerationMarkers,
  InvalidModelFileError,
  Tokenizer,
} from '../../src/index.js';
import { readTokenizerGolden, tokenizerGoldens, tokenizerKinds } from '../tokenizer/goldens.js';

/** `apply_chat_template`'s keyword arguments as our options. */
function toOptions(options: Readonly<Record<string, unknown>>): RenderChatOptions {
  const { add_generation_prompt, continue_final_message, tools, ...variables } = options;
  return {
    addGenerationPrompt: add_generation_prompt === true,
    continueFinalMessage: continue_final_message === true,
    ...(tools === undefined ? {} : { tools: tools as Record<string, unknown>[] }),
    variables,
  };
}

describe.each(tokenizerKinds)('%s', async (kind) => {
  const tokenizer = await Tokenizer.load(join(tokenizerGoldens, kind));
  const chat = (await ChatTemplate.load(tokenizer))!;
  const golden = readTokenizerGolden(kind);

  it('renders and tokenizes every conversation as transformers does', () => {
    for (const { name, messages, template, options, error, rendered, ids } of golden.chat) {
      const ours = { ...toOptions(options), ...(template === null ? {} : { template: golden.templates[template]! }) };
      const label = `${name} ${template} ${JSON.stringify(options)}`;
      if (error !== undefined) {
        expect(() => chat.renderChat(messages, ours), label).toThrow(ChatTemplateError);
        expect(() => chat.renderChat(messages, ours), label).toThrow(error.replace(/^\w+: /, ''));
      } else {
        const result = chat.renderChat(messages, ours);
        expect(result.text, label).toBe(rendered);
        expect(result.tokenIds, label).toEqual(ids);
        expect(result.assistantMask).toBeUndefined();
      }
    }
  });

  it('masks the assistant’s tokens as transformers does, and refuses an empty mask', () => {
    let masks = 0;
    for (const { name, messages, template, options, assistant_mask } of golden.chat) {
      if (assistant_mask === undefined) continue;
      masks++;
      const ours = {
        ...toOptions(options),
        ...(template === null ? {} : { template: golden.templates[template]! }),
        assistantMask: true,
      };
      const label = `${name} ${template} ${JSON.stringify(options)}`;
      if (!assistant_mask.includes(1)) expect(() => chat.renderChat(messages, ours), label).toThrow(AssistantMaskError);
      else expect(chat.renderChat(messages, ours).assistantMask, label).toEqual(assistant_mask);
    }
    expect(masks).toBeGreaterThan(5);
  });

  it('knows whose every token is: the words of the assistant are in the mask of transformers, others are not', () => {
    let [compared, words] = [0, 0];
    for (const { name, messages, template, options, assistant_mask } of golden.chat) {
      if (!assistant_mask?.includes(1)) continue;
      const label = `${name} ${template} ${JSON.stringify(options)}`;
      const ours = {
        ...toOptions(options),
        ...(template === null ? {} : { template: golden.templates[template]! }),
        provenance: true,
      };
      const { provenance, tokenIds } = chat.renderChat(messages, ours);
      expect(provenance!.isContent.length, label).toBe(tokenIds.length);
      for (const [t, isContent] of provenance!.isContent.entries()) {
        const by = provenance!.messages[t]!;
        expect(provenance!.roles[t], label).toBe(messages[by]?.role);
        if (isContent !== 1) continue;
        const isAssistants = messages[by]!.role === 'assistant';
        words++;
        // A token of two is the assistant's in the mask; provenance gives it to the first whose text it has.
        if (isAssistants) expect(assistant_mask[t], `${label} token ${t}`).toBe(1);
      }
      compared++;
    }
    expect(compared).toBeGreaterThan(5);
    expect(words).toBeGreaterThan(100);
  });
});

interface SftCase {
  readonly tokenizer: string;
  readonly template: string | null;
  readonly options: Readonly<Record<string, unknown>>;
  readonly rows: readonly { readonly messages?: ChatMessage[] }[];
  readonly input_ids?: number[][];
  readonly labels?: number[][];
}

it('masks what TRL trains with assistant_only_loss', async () => {
  const path = join(tokenizerGoldens, '../sft/masks.json');
  const { cases } = JSON.parse(readFileSync(path, 'utf8')) as { cases: SftCase[] };
  let compared = 0;
  for (const { tokenizer: kind, template, options, rows, input_ids, labels } of cases) {
    if (options.assistant_only_loss !== true || Object.keys(options).length > 1 || !labels) continue;
    const tokenizer = await Tokenizer.load(join(tokenizerGoldens, kind));
    const chat = template === null ? (await ChatTemplate.load(tokenizer))! : new ChatTemplate(tokenizer, template);
    for (const [i, { messages }] of rows.entries()) {
      if (!messages) continue;
      const { tokenIds, assistantMask } = chat.renderChat(messages, { assistantMask: true });
      expect(tokenIds).toEqual(input_ids![i]);
      expect(assistantMask!.map((bit, t) => (bit === 1 ? tokenIds[t] : -100))).toEqual(labels[i]);
      compared++;
    }
  }
  expect(compared).toBeGreaterThan(2);
});

describe('beyond the goldens', () => {
  let tokenizer: Tokenizer;
  beforeAll(async () => {
    tokenizer = await Tokenizer.load(join(tokenizerGoldens, 'byte-level-bpe'));
  });
  const conversation: ChatMessage[] = [
    { role: 'user', content: 'What is 2 + 3?' },
    { role: 'assistant', content: '2 + 3 = 5 🎉' },
    { role: 'user', content: 'And 4?' },
    { role: 'assistant', content: '  nine\n' },
  ];
  const render = (template: string, options: RenderChatOptions = {}, messages = conversation) =>
    new ChatTemplate(tokenizer, template).renderChat(messages, options);
  const CHATML =
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}" +
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";
  const MARKED =
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' }}{% if m.role == 'assistant' %}" +
    "{% generation %}{{ m.content + '<|im_end|>' }}{% endgeneration %}{% else %}{{ m.content + '<|im_end|>' }}{% endif %}" +
    "{{ '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

  it('the prefix difference is the mask that markers would give', () => {
    expect(hasGenerationMarkers(MARKED)).toBe(true);
    expect(hasGenerationMarkers(CHATML)).toBe(false);
    const marked = render(MARKED, { assistantMask: true });
    expect(render(CHATML, { assistantMask: true })).toEqual(marked);
    const masked = marked.tokenIds.filter((_, i) => marked.assistantMask![i] === 1);
    expect(tokenizer.decode(masked)).toBe('2 + 3 = 5 🎉<|im_end|>  nine\n<|im_end|>');
  });

  it('tells text, header and footer of every message apart, whatever the template trims', () => {
    const TRIMS = CHATML.replace('m.content', '(m.content | trim)');
    const HEADED = `<s>${CHATML}`;
    const textOf = (tokenIds: readonly number[], chosen: (t: number) => boolean) =>
      tokenizer.decode(tokenIds.filter((_, t) => chosen(t)));
    for (const template of [CHATML, TRIMS, HEADED]) {
      const { tokenIds, provenance } = render(template, { provenance: true, addGenerationPrompt: true });
      const { messages, isContent } = provenance!;
      const says = conversation.map((_, m) => textOf(tokenIds, (t) => isContent[t] === 1 && messages[t] === m));
      const trimmed =
        template === TRIMS
          ? conversation.map(({ content }) => String(content).trim())
          : conversation.map(({ content }) => content);
      expect(says).toEqual(trimmed);
      const all = conversation.map((_, m) => textOf(tokenIds, (t) => messages[t] === m));
      all.forEach((text, m) => {
        const head = template === HEADED && m === 0 ? '<s>' : '';
        expect(text).toBe(`${head}<|im_start|>${conversation[m]!.role}\n${trimmed[m]}<|im_end|>\n`);
      });
      expect(textOf(tokenIds, (t) => messages[t] === -1)).toBe('<|im_start|>assistant\n');
    }
  });

  it('knows whose words are whose where the template drops, joins or reorders messages, and what it does not know it says', () => {
    // The system's words before the user's own; reasoning of the last turn only.
    const joins =
      "{% for m in messages %}{% if m.role == 'user' %}[{{ messages[0].content if loop.index0 == 1 }} {{ m.content }}]" +
      "{% elif m.role == 'assistant' %}{% if loop.last %}<{{ m.reasoning_content }}>{% endif %}{{ m.content }}{% endif %}{% endfor %}";
    const dialogue: ChatMessage[] = [
      { role: 'system', content: 'Be brief.' },
      { role: 'user', content: 'One?' },
      { role: 'assistant', content: 'One.', reasoning_content: 'easy' } as ChatMessage,
      { role: 'user', content: 'Two?' },
      { role: 'assistant', content: 'Two.', reasoning_content: 'also easy' } as ChatMessage,
    ];
    const { tokenIds, provenance } = render(joins, { provenance: true }, dialogue);
    const { messages, isContent } = provenance!;
    const of = (m: number, content = 1) =>
      tokenizer.decode(tokenIds.filter((_, t) => messages[t] === m && isContent[t] === content));
    expect(dialogue.map((_, m) => of(m).trim())).toEqual(['Be brief.', 'One?', 'One.', 'Two?', 'also easyTwo.']);
    // What the reasoning of message 2 was in is not there any more, so the brackets between are nobody's for certain.
    expect(of(-1, 0)).toContain(']');
    const shouts = '{% for m in messages %}{{ m.content | upper }}{{ m.content | length }}{% endfor %}';
    expect(() => render(shouts, { provenance: true })).toThrow(/Provenance of a conversation: the template reads what/);
    const halves = '{% for m in messages %}{{ m.content[:3] }}{% endfor %}';
    expect(() => render(halves, { provenance: true })).toThrow(/cuts the text of messages\[0\]|apart/);
  });

  it('refuses a mask it cannot be sure of', () => {
    const forgetful = "{% for m in messages %}{{ m.role if loop.last else 'x' }}:{{ m.content }}\n{% endfor %}";
    expect(() => render(forgetful, { assistantMask: true })).toThrow(/not prefix-preserving at message 1/);
    const measuring =
      '{% set t %}{% generation %}{{ messages[1].content }}{% endgeneration %}{% endset %}{{ t | length }}';
    expect(() => render(measuring, { assistantMask: true })).toThrow(/changes what its generation blocks/);
    const cut = (slice: string) => `{% set t %}{% generation %}abc{% endgeneration %}{% endset %}{{ t[${slice}] }}`;
    expect(() => render(cut(':-1'), { assistantMask: true })).toThrow(/does not end/);
    expect(() => render(cut('1:'), { assistantMask: true })).toThrow(/has no start/);
    const nested = '{% generation %}a{% generation %}b{% endgeneration %}{% endgeneration %}';
    expect(() => render(nested, { assistantMask: true })).toThrow(/nests/);
    for (const wrong of ['{% generation %}a', '{% endgeneration %}']) {
      expect(() => render(wrong, { assistantMask: true })).toThrow(/line 1: .*endgeneration/);
    }
    const user = [conversation[0]!];
    expect(() => render(CHATML, { assistantMask: true }, user)).toThrow(/no token is the assistant/);
    expect(() => render(MARKED, { assistantMask: true }, user)).toThrow(AssistantMaskError);
  });

  it('private-use characters in a message do not disturb the mask', () => {
    const messages = [conversation[0]!, { role: 'assistant', content: 'a\uE000b\uE001c' }];
    const result = render(MARKED, { assistantMask: true }, messages);
    const masked = result.tokenIds.filter((_, i) => result.assistantMask![i] === 1);
    expect(tokenizer.decode(masked)).toBe('a\uE000b\uE001c<|im_end|>');
  });

  // Text and the first generation block's text as transformers renders them.
  it.each([
    ['{%- generation %}  x\n{%- endgeneration %}', 'a  xc', '  x'],
    [' \n {%- generation -%}  x\n {%- endgeneration -%} \n ', 'axc', 'x'],
    ['{% generation -%}  x\n{% endgeneration -%}\n', 'ax\nc', 'x\n'],
    ['\n  {% generation %}\nx\n  {% endgeneration %}\n', 'a\nx\nc', 'x\n'],
    [' {% generation %} x {% endgeneration %} ', 'a  x  c', ' x '],
    ['\n  {%+ generation +%}\nx{% endgeneration %}', 'a\n  \nxc', '\nx'],
    [' \n{% generation %}{%- if true %}x{% endif %}{% endgeneration %}', 'a \nxc', 'x'],
  ])('white space around %j is that of a block tag', (block, expected, generated) => {
    const template = `a${block}c`;
    expect(render(template).text).toBe(expected);
    const now = new Date(0);
    const spans = generationSpans(template, {}, now, expected);
    expect(spans.map(([start, end]) => expected.slice(start, end))).toEqual([generated]);
  });

  it('gives templates the clock, JSON, ranges, loop controls and exceptions', () => {
    const now = new Date(2026, 0, 5, 15, 4, 9);
    const at = (format: string) => render(`{{ strftime_now('${format}') }}`, { now }).text;
    expect(at('%d %b %Y')).toBe('05 Jan 2026');
    expect(at('%A %-d %B %y, %I:%M:%S %p | %H | %a %m %F %T %%')).toBe(
      'Monday 5 January 26, 03:04:09 PM | 15 | Mon 01 2026-01-05 15:04:09 %',
    );
    expect(() => at('%Q')).toThrow(/"%Q" is not supported/);
    expect(render("{{ {'a': ['<b>', 'é', none, true]} | tojson }}").text).toBe('{"a": ["<b>", "é", null, true]}');
    expect(render('{% for i in range(1, 9, 3) %}{% if i == 7 %}{% break %}{% endif %}{{ i }}{% endfor %}').text).toBe(
      '14',
    );
    expect(() => render("{{ raise_exception('no') }}")).toThrow(/refused the conversation: no/);
    expect(() => render('{% if %}')).toThrow(/failed to render/);
    expect(render('{{ bos_token }}{{ mood }}', { variables: { mood: 'glad', bos_token: '!' } }).text).toBe('!glad');
    expect(render('{{ tools is none }}{{ documents[0].title }}', { documents: [{ title: 'T' }] }).text).toMatch(/T$/);
  });

  it('has null as None, leaves undefined out, and gives reasoning its usual names', () => {
    const messages = [
      { role: 'assistant', content: null, tool_calls: undefined, reasoning: 'why', thinking: null },
    ] as unknown as ChatMessage[];
    const template =
      '{{ messages[0].content }} {{ messages[0].tool_calls is defined }} {{ messages[0].reasoning_content }} {{ messages[0].thinking }}';
    expect(render(template, {}, messages).text).toBe('None False why None');
  });

  it('goes on with the last text of content as parts, and gives templates the parts', () => {
    const parts = [{ type: 'text', text: 'a' }, { type: 'text', text: 'b ' }, { type: 'image' }];
    const messages = [{ role: 'assistant', content: parts }] as unknown as ChatMessage[];
    const each = '{% for p in messages[0].content %}[{{ p.text }}]{% endfor %}';
    expect(render(each, {}, messages).text).toBe('[a][b ][]');
    expect(render(each, { continueFinalMessage: true }, messages).text).toBe('[a][b ');
    expect(() => render("{{ 'x' + messages[0].content }}", {}, messages)).toThrow(/\(not "list"\) to str/);
  });

  it('refuses what excludes itself, no messages, and unknown options', () => {
    expect(() => render(CHATML, { continueFinalMessage: true, addGenerationPrompt: true })).toThrow(/excludes/);
    expect(() => render(CHATML, { continueFinalMessage: true, assistantMask: true })).toThrow(/excludes/);
    expect(() => render('hello', { continueFinalMessage: true })).toThrow(/cannot be continued/);
    expect(() => render(CHATML, {}, [])).toThrow(/no messages/);
    expect(() => render(CHATML, { addGenerationPromt: true } as RenderChatOptions)).toThrow(/addGenerationPrompt/);
  });

  it('finds templates where transformers does', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'chat-'));
    cpSync(join(tokenizerGoldens, 'byte-level-bpe'), folder, { recursive: true });
    const load = async (chatTemplate: unknown) => {
      writeFileSync(join(folder, 'tokenizer_config.json'), JSON.stringify({ chat_template: chatTemplate }));
      return ChatTemplate.load(await Tokenizer.load(folder));
    };
    const text = (chat: ChatTemplate | undefined, options?: RenderChatOptions) =>
      chat!.renderChat(conversation, options).text;

    expect(text(await load('from the config'))).toMatch(/^<\|im_start\|>/);
    mkdirSync(join(folder, 'additional_chat_templates'));
    writeFileSync(join(folder, 'additional_chat_templates', 'tool_use.jinja'), 'with tools');
    expect(text(await load(undefined), { tools: [] })).toBe('with tools');
    rmSync(join(folder, 'additional_chat_templates'), { recursive: true });
    rmSync(join(folder, 'chat_template.jinja'));
    expect(text(await load('from the config'))).toBe('from the config');
    expect(await load(undefined)).toBeUndefined();

    const named = await load([
      { name: 'rag', template: 'R' },
      { name: 'tool_use', template: 'T' },
    ]);
    expect(text(named, { tools: [{}] })).toBe('T');
    expect(text(named, { template: 'rag' })).toBe('R');
    expect(text(named, { template: 'literal' })).toBe('literal');
    expect(() => text(named)).toThrow(/rag, tool_use/);
    await expect(load({ name: 'x' })).rejects.toThrow(InvalidModelFileError);
    rmSync(folder, { recursive: true });
  });
});
