import { isDeepStrictEqual } from 'node:util';
import type { ChatMessage, Prompt } from '@posttrain/interfaces';
import { showValue } from '@posttrain/interfaces';
import type { PythonRandom } from '@posttrain/interfaces/random';
import { type Doc, type LmEvalTaskConfig, taskError } from './config.js';
import type { Fields } from './fields.js';

/** Draws so many rows to show. */
export type LmEvalSampler = (docs: readonly Doc[], count: number, random: PythonRandom) => readonly Doc[];

/** Samplers of few-shot examples, by their names in lm-evaluation-harness: drawn anew for each problem, or the first ones. */
export const lmEvalSamplers = {
  default: (docs, count, random) => random.sample(docs, count),
  first_n: (docs, count) => {
    if (count > docs.length) throw new RangeError(`first_n: ${count} of ${docs.length} rows`);
    return docs.slice(0, count);
  },
} as const satisfies Readonly<Record<string, LmEvalSampler>>;

/** How prompts are made. */
export interface ContextSettings {
  readonly config: LmEvalTaskConfig;
  readonly fields: Fields;
  /** Rows that examples are drawn from. */
  readonly shots: readonly Doc[];
  readonly count: number;
  /** Python's numbers, one stream for all problems in their order. */
  readonly random: PythonRandom;
  readonly chat?: 'turn' | 'multiturn' | undefined;
  readonly systemInstruction?: string | undefined;
}

/** What is asked about a row, before what differs from choice to choice. */
export interface Context {
  readonly prompt: Prompt;
  /** Of conversations: what the answer must begin with. */
  readonly prefix?: string;
}

/** The contexts of rows, in their order: `fewshot_context` of lm-evaluation-harness 0.4.9. */
export function contextsOf(settings: ContextSettings, docs: readonly Doc[], multipleInputs: boolean): Context[] {
  const maker = new ContextMaker(settings);
  return docs.map((doc) => maker.context(doc, multipleInputs));
}

class ContextMaker {
  readonly #settings: ContextSettings;
  readonly #sampler: LmEvalSampler;

  constructor(settings: ContextSettings) {
    this.#settings = settings;
    const { sampler = 'default' } = settings.config.fewshot_config ?? {};
    if (!Object.hasOwn(lmEvalSamplers, sampler)) {
      const known = Object.keys(lmEvalSamplers).join(', ');
      throw taskError(
        settings.config,
        `the sampler ${showValue(sampler)} of fewshot_config is not known; there are ${known}.`,
      );
    }
    this.#sampler = lmEvalSamplers[sampler as keyof typeof lmEvalSamplers];
  }

  context(doc: Doc, multipleInputs: boolean): Context {
    const { config, fields, count, chat } = this.#settings;
    const system = this.#system(doc);
    const prefix = fields.prefix(doc);
    const asked = this.#asked(doc, multipleInputs);
    if (chat === undefined) {
      const shown = system + (count > 0 ? this.#examples(doc, prefix) : '');
      if (asked === undefined) return { prompt: shown };
      return { prompt: shown + asked + (prefix === undefined ? '' : (config.target_delimiter ?? ' ') + prefix) };
    }
    const messages: ChatMessage[] = system === '' ? [] : [{ role: 'system', content: system }];
    if (count > 0) messages.push(...this.#conversation(doc, prefix));
    if (asked === undefined) return { prompt: messages };
    const last = messages.at(-1);
    if (chat === 'turn' && last !== undefined && last.role !== 'system') {
      messages[messages.length - 1] = { role: last.role, content: last.content + asked };
    } else messages.push({ role: 'user', content: asked });
    return { prompt: messages, ...(prefix && { prefix }) };
  }

  /** The description of the task, behind the instruction of the run. */
  #system(doc: Doc): string {
    const { config, fields, systemInstruction } = this.#settings;
    const description = config.description ? fields.render(config.description, doc) : '';
    if (systemInstruction === undefined) return description;
    return description === '' ? systemInstruction : systemInstruction + this.#delimiter + description;
  }

  /** The question itself; undefined where the choices are what is asked about. */
  #asked(doc: Doc, multipleInputs: boolean): string | undefined {
    const { config, fields } = this.#settings;
    if (multipleInputs) return undefined;
    const text = fields.text(doc);
    if (typeof text === 'string') return text;
    if (typeof text === 'number') return config.doc_to_choice === undefined ? String(text) : fields.choices(doc)[text]!;
    throw taskError(config, `doc_to_text gives ${showValue(text)}; it must be a text.`);
  }

  get #delimiter(): string {
    return this.#settings.config.fewshot_delimiter ?? '\n\n';
  }

  /** Rows to show, less the one that is asked about. */
  #drawn(doc: Doc): readonly Doc[] {
    const { config, shots, count, random } = this.#settings;
    const wanted = config.fewshot_split === config.test_split ? count + 1 : count;
    if (wanted > shots.length) {
      throw taskError(config, `it shows ${wanted} examples, and there are ${shots.length} rows to draw them from.`);
    }
    return this.#sampler(shots, wanted, random)
      .filter((shown) => !isDeepStrictEqual(shown, doc))
      .slice(0, count);
  }

  #examples(doc: Doc, prefix: string | undefined): string {
    const delimiter = this.#settings.config.target_delimiter ?? ' ';
    return this.#drawn(doc)
      .map((shown) => {
        const { question, target } = this.#shown(shown);
        const begin = prefix ? `${prefix} ` : '';
        return target === '' ? question : question + delimiter + begin + target + this.#delimiter;
      })
      .join('');
  }

  /** As in lm-evaluation-harness, examples of one turn are drawn twice: the first draw only moves the random numbers on. */
  #conversation(doc: Doc, prefix: string | undefined): ChatMessage[] {
    const drawn = this.#drawn(doc);
    if (this.#settings.chat === 'turn') return [{ role: 'user', content: this.#examples(doc, prefix) }];
    const begin = prefix ? `${prefix} ` : '';
    return drawn.flatMap((shown) => {
      const { question, target } = this.#shown(shown);
      return [
        { role: 'user', content: question },
        { role: 'assistant', content: begin + target },
      ];
    });
  }

  #shown(doc: Doc): { question: string; target: string } {
    const { config, fields } = this.#settings;
    const { doc_to_text: ofText, doc_to_target: ofTarget, doc_to_choice: ofChoice } = config.fewshot_config ?? {};
    const text = fields.text(doc, ofText ?? undefined);
    const target = fields.target(doc, ofTarget ?? undefined);
    const choice = (of: unknown, key: string): string => {
      const hasChoices = config.doc_to_choice !== undefined;
      if (typeof of === 'string') return of;
      if (!hasChoices || typeof of !== 'number')
        throw taskError(
          config,
          `${key} of an example gives ${showValue(of)}; it must be a text, or the index of a choice.`,
        );
      const found = fields.choices(doc, ofChoice ?? undefined).at(of);
      if (found === undefined)
        throw taskError(config, `${key} of an example gives ${of}, and there is no such choice.`);
      return found;
    };
    const question = choice(text, 'doc_to_text');
    if (Array.isArray(target)) {
      if (target.length === 0) throw taskError(config, 'doc_to_target of an example gives an empty list.');
      return { question, target: String(target[0]) };
    }
    return { question, target: choice(target, 'doc_to_target') };
  }
}
