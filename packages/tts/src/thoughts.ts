import { custom, type Given, integer, listOf, type Options, type Prompt, showValue, text } from '@posttrain/interfaces';
import { ContractError } from './errors.js';
import { optionalPrompt } from './function-option.js';
import type { Search } from './search.js';
import type { SearchNode } from './search-node.js';

/** Each state is valued by itself. */
export interface ThoughtValues {
  readonly method: 'value';
  /** What is asked of a state, the thoughts so far. */
  readonly prompt: (thoughts: string) => Prompt;
  /** The value in what the evaluator wrote; `null` or NaN: none. */
  readonly parse: (text: string) => number | null;
}

/** The states of a step are compared. */
export interface ThoughtVotes {
  readonly method: 'vote';
  readonly prompt: (states: readonly string[]) => Prompt;
  /** Which state the evaluator voted for, from 0; `null`: none. */
  readonly parse: (text: string, states: number) => number | null;
}

const isEvaluation = (value: unknown): boolean => {
  const given = value as Partial<ThoughtValues> | null | undefined;
  const isKnown = given?.method === 'value' || (given?.method as string | undefined) === 'vote';
  return isKnown && typeof given?.prompt === 'function' && typeof given.parse === 'function';
};

/** What every search over thoughts takes; `n` is k, the thoughts that are generated from each state. */
export const thoughtShape = {
  /** T, the steps of a solution: thoughts in a row. A state that the model has ended has no further steps. */
  steps: integer({ min: 1 }),
  /** V, how states are judged. `generators.evaluator` is asked where there is one, else `generator`. */
  evaluation: custom<ThoughtValues | ThoughtVotes>()(
    "{ method: 'value' or 'vote', prompt, parse } with functions",
    isEvaluation,
    {},
  ),
  /** How often the evaluator is asked about a state (`value`) or a step's states (`vote`). Default 3. */
  evaluations: integer({ default: 3, min: 1 }),
  /** b, the states that are kept of each step. Default 5. */
  breadth: integer({ default: 5, min: 1 }),
  /** What ends a thought that is sampled. Default `['\n']`. */
  stop: listOf(text({}), { default: ['\n'] }),
  /** Proposes the next thoughts together, one a line of one completion. Default: they are sampled, each a continuation of the state. */
  proposePrompt: optionalPrompt<(thoughts: string) => Prompt>('thoughts'),
};

/** How thoughts are made and judged. */
export interface ThoughtSettings {
  /** Of errors. */
  readonly where: string;
  readonly n: number;
  readonly steps: number;
  readonly evaluation: ThoughtValues | ThoughtVotes;
  readonly evaluations: number;
  readonly stop: readonly string[];
  readonly proposePrompt?: ((thoughts: string) => Prompt) | undefined;
  /** Whether `generators.evaluator` is there. */
  readonly hasEvaluator: boolean;
  /** In the place of the problem's prompt, for thoughts that are sampled. */
  readonly prompt?: Prompt | undefined;
}

type GivenThoughts = Given<Options<typeof thoughtShape>>;
type ReadThoughts = Required<Omit<GivenThoughts, 'proposePrompt'>> & Pick<ThoughtSettings, 'proposePrompt'>;

/** The settings of what was read of a strategy's options. */
export function thoughtSettings(
  where: string,
  read: ReadThoughts & { readonly n: number },
  generators: Readonly<Record<string, unknown>> | undefined,
): ThoughtSettings {
  const { n, steps, evaluation, evaluations, stop, proposePrompt } = read;
  const hasEvaluator = generators?.evaluator !== undefined;
  return { where, n, steps, evaluation, evaluations, stop, proposePrompt, hasEvaluator };
}

/** G and V of Tree of Thoughts (arXiv 2305.10601 §3) over one search: what the searches over thoughts share. */
export class Thoughts {
  readonly #search: Search;
  readonly #settings: ThoughtSettings;

  constructor(search: Search, settings: ThoughtSettings) {
    this.#search = search;
    this.#settings = settings;
  }

  isSolution(state: SearchNode, thoughts: number): boolean {
    return thoughts > 0 && (thoughts === this.#settings.steps || state.state !== 'open');
  }

  /** G: the next states, without those of a text that was there. */
  async generate(states: readonly SearchNode[]): Promise<SearchNode[]> {
    const { n, stop, proposePrompt, prompt } = this.#settings;
    const search = this.#search;
    const drawn = await Promise.all(
      states.map(async (state) => {
        if (!proposePrompt) {
          return search.expand(state, { n, stop, ...(prompt !== undefined && { prompt, prefix: state.text }) });
        }
        const [proposal] = await search.expand(state, { n: 1, prompt: proposePrompt(state.text) });
        if (!proposal) return [];
        const lines = proposal.text.split('\n').filter((line) => line.trim() !== '');
        return lines.slice(0, n).map((line) => search.merge([proposal], { thought: line }, `${state.text}${line}\n`));
      }),
    );
    const texts = new Set<string>();
    return drawn.flat().filter(({ text, node }) => {
      const isNew = !texts.has(text);
      if (!isNew) node.reason = 'a state of this text was there';
      texts.add(text);
      return isNew;
    });
  }

  /** V: `score` of each, where the budget allows it. */
  async evaluate(states: readonly SearchNode[]): Promise<void> {
    if (states.length === 0) return;
    const { evaluation, evaluations, hasEvaluator } = this.#settings;
    const search = this.#search;
    const evaluator = { n: evaluations, ...(hasEvaluator && { role: 'evaluator' }) };
    const said = (nodes: readonly SearchNode[]): string[] =>
      nodes.map(({ node, text }) => {
        node.reason = 'an evaluation';
        return text;
      });
    if (evaluation.method === 'vote') {
      const prompt = evaluation.prompt(states.map(({ text }) => text));
      const votes = said(await search.expand(search.merge(states, { operation: 'vote' }), { ...evaluator, prompt }));
      const chosen = votes.map((text) => this.#number(evaluation.parse(text, states.length)));
      if (votes.length === 0) return;
      states.forEach(({ node }, i) => {
        node.score = chosen.filter((vote) => vote === i).length;
      });
      return;
    }
    await Promise.all(
      states.map(async (state) => {
        const prompt = evaluation.prompt(state.text);
        const texts = said(await search.expand(state, { ...evaluator, prompt }));
        const values = texts.map((text) => this.#number(evaluation.parse(text))).filter((value) => value !== null);
        if (texts.length === 0) state.node.reason = `not valued: ${search.exhausted}`;
        else state.node.score = values.length === 0 ? null : values.reduce((a, b) => a + b, 0) / values.length;
      }),
    );
  }

  /** What `parse` found, of which `Number` gives NaN for a text that is none; throws for what is neither a number nor `null`. */
  #number(value: unknown): number | null {
    if (value === null || Number.isNaN(value)) return null;
    if (typeof value === 'number' && Number.isFinite(value)) return value;
    throw new ContractError(
      `${this.#settings.where}: evaluation.parse gave ${showValue(value)}; give a finite number, or null for none.`,
    );
  }
}

/** V of a state; `null` where it has none. */
export const thoughtValue = ({ score }: SearchNode): number | null => score ?? null;
