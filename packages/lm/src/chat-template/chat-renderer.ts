import { boolean, type ChatMessage, custom, type Given, options, type Read, text } from '@posttrain/interfaces';
import { isJsonObject, type JsonObject } from '../json.js';
import type { TextTokenizer } from '../tokenizer/text-tokenizer.js';
import { generationSpans, prefixDifferenceSpans, type TextSpan, turnsOfBlocks } from './assistant-spans.js';
import type { ChatTemplates } from './chat-templates.js';
import { AssistantMaskError, ChatTemplateError } from './errors.js';
import { hasGenerationMarkers, renderJinja } from './jinja-template.js';
import { type ChatProvenance, contentSpans, messageRegions, provenanceOf } from './provenance.js';

const isList = (value: unknown): boolean => Array.isArray(value) && value.every(isJsonObject);
const renderOptions = options('renderChat', {
  /** End with the header that asks the assistant for a message. Default false. */
  addGenerationPrompt: boolean({ default: false }),
  /** Leave the last message open, so that the model goes on with it. Default false; excludes the option above. */
  continueFinalMessage: boolean({ default: false }),
  /** JSON schemas of functions the model may call. */
  tools: custom<readonly JsonObject[]>()('a list of JSON schemas', isList, { optional: true }),
  /** Documents for templates that support retrieval. */
  documents: custom<readonly JsonObject[]>()('a list of objects', isList, { optional: true }),
  /** The name of one of the folder's templates, or a template. Default: `tool_use` with tools, else `default`. */
  template: text({ optional: true }),
  /**
   * Further variables of the template (`enable_thinking`, `date_string`); they win over special tokens. As in messages and
   * tools: whole numbers are integers (a `Number` object is a float, a `bigint` any integer), null is None, and a `Map` keeps
   * the order of keys that are numbers, which objects lose (see `renderChat`).
   */
  variables: custom<Readonly<Record<string, unknown>>>()('an object', isJsonObject, { optional: true }),
  /** Also tell which tokens the assistant wrote, and in which message. Default false. */
  assistantMask: boolean({ default: false }),
  /** Also tell which message each token is of, and whether it is its text or the template's. Default false. */
  provenance: boolean({ default: false }),
  /** What `strftime_now` says it is. Default: now. */
  now: custom<Date>()('a Date', (value) => value instanceof Date, { optional: true }),
});
/** Options of rendering a conversation, by the names of transformers' `apply_chat_template` in camel case. */
export type RenderChatOptions = Given<typeof renderOptions>;
type ReadRenderOptions = Read<typeof renderOptions>;

/** A conversation as text and tokens. */
export interface RenderedChat {
  readonly text: string;
  /** The text's tokens; nothing is added, since templates write special tokens themselves. */
  readonly tokenIds: number[];
  /** One per token: 1 where the assistant wrote it (and so what training teaches), else 0. */
  readonly assistantMask?: number[];
  /** With the mask: the index of the message that each of the assistant's tokens belongs to; -1 for all others. */
  readonly assistantTurns?: number[];
  /** Where it was asked for. */
  readonly provenance?: ChatProvenance;
}

/** What `transformers` appends to find, after rendering, where the final message ended. */
const CONTINUE_TAG = 'CONTINUE_FINAL_MESSAGE_TAG ';

/**
 * Turns conversations into text and tokens with a model's Jinja chat template, as `apply_chat_template` does. Needs no
 * Node.js: `ChatTemplate` adds the files of a folder to it.
 */
export class ChatRenderer {
  readonly templates: ChatTemplates;
  readonly #tokenizer: TextTokenizer;

  /** @param templates one template, or several by name */
  constructor(tokenizer: TextTokenizer, templates: string | ChatTemplates) {
    this.#tokenizer = tokenizer;
    this.templates = typeof templates === 'string' ? { default: templates } : templates;
  }

  /**
   * Renders and tokenizes a conversation, to the text that `apply_chat_template` gives, or fails: what Python raises is an
   * error here too, and what is not carried over (other templates, `urlize`) is refused by name. Rendering is bounded in
   * steps, text and nesting.
   *
   * JavaScript objects put keys like `"1"` first, so the order they were written in is lost; a template that reads such an
   * object in order (`tojson`, `items`) is refused. Give a `Map` there, or read JSON text with `parseJsonText`.
   *
   * The assistant mask comes from the template's `{% generation %}` blocks: a token is the assistant's when any of it
   * lies in one. Without blocks it is what each assistant message adds to its prompt, without white space after the
   * closing special token.
   *
   * @throws ChatTemplateError when the template fails or refuses the conversation
   * @throws AssistantMaskError when the mask would be empty, or cannot be known
   * @throws ChatProvenanceError when the template rewrites the text of messages, so that whose it is cannot be known
   */
  renderChat(messages: readonly ChatMessage[], given: RenderChatOptions = {}): RenderedChat {
    const options = renderOptions.read(given);
    const { addGenerationPrompt, continueFinalMessage, assistantMask } = options;
    if (messages.length === 0) throw new ChatTemplateError('the conversation has no messages.');
    if (continueFinalMessage && (addGenerationPrompt || assistantMask || options.provenance)) {
      throw new ChatTemplateError('continueFinalMessage excludes addGenerationPrompt, assistantMask and provenance.');
    }
    const template = this.#choose(options);
    const now = options.now ?? new Date();
    const rendered = this.#rendered(messages, template, now, options);
    if (!options.provenance) return rendered;
    return { ...rendered, provenance: this.#provenance(messages, template, now, options, rendered.text) };
  }

  #rendered(
    messages: readonly ChatMessage[],
    template: string,
    now: Date,
    options: ReadRenderOptions,
  ): Omit<RenderedChat, 'provenance'> {
    const { addGenerationPrompt, continueFinalMessage, assistantMask } = options;
    const variables = (count: number, prompt: boolean) => this.#variables(messages.slice(0, count), prompt, options);
    const render = (count: number, prompt: boolean) => renderJinja(template, variables(count, prompt), now);

    const text = continueFinalMessage
      ? renderOpenEnded(template, variables(messages.length, false), now)
      : render(messages.length, addGenerationPrompt);
    if (!assistantMask) return { text, tokenIds: this.#tokenizer.encode(text, { addSpecialTokens: false }) };

    const marked = hasGenerationMarkers(template);
    const turns = assistantTurns(messages);
    if (!marked) return this.#masked(text, prefixDifferenceSpans(render, turns, text), turns, marked);
    const blocksOf = (count: number, prompt: boolean, plain: string) =>
      generationSpans(template, variables(count, prompt), now, plain);
    const spans = blocksOf(messages.length, addGenerationPrompt, text);
    const blocks = (count: number) => blocksOf(count, false, render(count, false)).length;
    return this.#masked(text, spans, turnsOfBlocks(spans.length, turns, blocks), marked);
  }

  /** Whose every token is: the words of messages, and what the rendering of each message adds to those before. */
  #provenance(
    messages: readonly ChatMessage[],
    template: string,
    now: Date,
    options: ReadRenderOptions,
    text: string,
  ): ChatProvenance {
    const render = (some: readonly ChatMessage[], prompt: boolean) =>
      renderJinja(template, this.#variables(some, prompt, options), now);
    const spans = contentSpans(messages, { template, text }, (marked) => render(marked, options.addGenerationPrompt));
    const lengths = messages.map((_, k) => {
      const beginning = renderedOrNone(() => render(messages.slice(0, k + 1), false));
      return beginning !== undefined && text.startsWith(beginning) ? beginning.length : undefined;
    });
    const { offsets } = this.#tokenizer.encodeWithOffsets(text, { whole: true });
    return provenanceOf(messages, offsets, spans, messageRegions(lengths));
  }

  /** @param turns the message that each span belongs to */
  #masked(text: string, spans: readonly TextSpan[], turns: readonly number[], marked: boolean): RenderedChat {
    const { ids, offsets } = this.#tokenizer.encodeWithOffsets(text, { whole: true });
    const mask = new Array<number>(ids.length).fill(0);
    const turnOfToken = new Array<number>(ids.length).fill(-1);
    spans.forEach((span, s) => {
      const inside = offsets.flatMap(([start, end], i) => (start < span[1] && end > span[0] ? [i] : []));
      const kept = marked ? inside : this.#withoutTail(text, ids, offsets, inside);
      for (const i of kept) {
        mask[i] = 1;
        turnOfToken[i] = turns[s]!;
      }
    });
    if (!mask.includes(1)) {
      throw new AssistantMaskError(
        'no token is the assistant’s: the conversation has no assistant message with text, or the template renders none.',
      );
    }
    return { text, tokenIds: ids, assistantMask: mask, assistantTurns: turnOfToken };
  }

  /** Generation stops at the closing special token, so white space a template puts after it is not the assistant's. */
  #withoutTail(
    text: string,
    ids: readonly number[],
    offsets: readonly TextSpan[],
    inside: readonly number[],
  ): number[] {
    const lastSpecial = inside.findLastIndex((i) => this.#tokenizer.specialIds.has(ids[i]!));
    const tail = inside.slice(lastSpecial + 1);
    const blank = tail.every((i) => text.slice(...offsets[i]!).trim() === '');
    return lastSpecial >= 0 && blank ? inside.slice(0, lastSpecial + 1) : [...inside];
  }

  #choose(options: ReadRenderOptions): string {
    const { template, tools } = options;
    if (template !== undefined) return Object.hasOwn(this.templates, template) ? this.templates[template]! : template;
    const chosen = (tools && this.templates.tool_use) ?? this.templates.default;
    if (chosen === undefined) {
      throw new ChatTemplateError(
        `the model has several and no default; name one as "template": ${Object.keys(this.templates).join(', ')}.`,
      );
    }
    return chosen;
  }

  #variables(messages: readonly ChatMessage[], prompt: boolean, options: ReadRenderOptions): Record<string, unknown> {
    return {
      messages: messages.map(templateMessage),
      tools: options.tools ?? null,
      documents: options.documents ?? null,
      add_generation_prompt: prompt,
      ...this.#tokenizer.specialTokens,
      ...options.variables,
    };
  }
}

/** Names a message's reasoning goes by; templates read the first, or gpt-oss's the second. */
const REASONING_FIELDS = ['reasoning_content', 'thinking', 'reasoning'] as const;

/** A message as templates see it: null fields are None, undefined ones are not there, reasoning has its usual names. */
function templateMessage(message: ChatMessage): Record<string, unknown> {
  const present = Object.fromEntries(Object.entries(message).filter(([, value]) => value !== undefined));
  const reasoning = REASONING_FIELDS.map((field) => present[field]).find(
    (value) => value !== undefined && value !== null,
  );
  return reasoning === undefined ? present : { thinking: reasoning, ...present, reasoning_content: reasoning };
}

/** A template may refuse the beginning of a conversation (roles that must alternate). */
function renderedOrNone(render: () => string): string | undefined {
  try {
    return render();
  } catch (error) {
    if (error instanceof ChatTemplateError) return undefined;
    throw error;
  }
}

function assistantTurns(messages: readonly ChatMessage[]): number[] {
  return messages.flatMap(({ role }, i) => (role === 'assistant' ? [i] : []));
}

/** The text that a message ends with, and its content with the tag behind that text: the last text of content as parts. */
function tagContent(content: unknown): { readonly text: string; readonly tagged: unknown } {
  if (typeof content === 'string') return { text: content, tagged: content + CONTINUE_TAG };
  const parts: readonly unknown[] = Array.isArray(content) ? content : [];
  const isText = (part: unknown) => isJsonObject(part) && typeof part.text === 'string';
  const at = parts.findLastIndex(isText);
  if (at < 0) throw new ChatTemplateError('the final message has no content to continue.');
  const part = parts[at] as { readonly text: string };
  return { text: part.text, tagged: parts.toSpliced(at, 1, { ...part, text: part.text + CONTINUE_TAG }) };
}

function renderOpenEnded(template: string, variables: Record<string, unknown>, now: Date): string {
  const messages = variables.messages as Record<string, unknown>[];
  const final = messages.at(-1)!;
  const { text: content, tagged: taggedContent } = tagContent(final.content);
  const tagged = [...messages.slice(0, -1), { ...final, content: taggedContent }];
  const text = renderJinja(template, { ...variables, messages: tagged }, now);
  const at = text.lastIndexOf(CONTINUE_TAG.trim());
  if (at < 0 || !text.includes(content.trim())) {
    throw new ChatTemplateError('does not render the final message as it is, so it cannot be continued.');
  }
  const keepsSpaces = text.startsWith(CONTINUE_TAG, at);
  return keepsSpaces ? text.slice(0, at) : text.slice(0, at).trimEnd();
}
