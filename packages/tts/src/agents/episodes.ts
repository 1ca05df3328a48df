import { custom, type Given, integer, type Options, type Prompt, text } from '@posttrain/interfaces';
import { allOrAbort, createLimiter } from '@posttrain/interfaces/concurrency';
import { optionalFunction } from '../function-option.js';
import type { Search } from '../search.js';
import type { SearchNode } from '../search-node.js';

/** What an agent may do: a function of the argument, which gives the observation. */
export type Tool = (argument: string, context: { readonly signal: AbortSignal }) => string | Promise<string>;

/** An action that a model has written. */
export interface ToolCall {
  readonly tool: string;
  readonly argument: string;
}

const isTools = (value: unknown): boolean =>
  typeof value === 'object' && value !== null && Object.values(value).every((tool) => typeof tool === 'function');

/** The options of whoever acts. */
export const episodeShape = {
  /** Tools by name. */
  tools: custom<Readonly<Record<string, Tool>>>()('functions by name, as { search: (query) => text }', isTools, {}),
  /** The action in a step; `null`: none. Default: the last `Action: tool[argument]`. */
  parseAction: optionalFunction<(step: string) => ToolCall | null>('a function that finds the action in a step'),
  /** The tool whose argument is the answer, and which ends an episode. Default `finish`. */
  finishTool: text({ default: 'finish' }),
  /** What ends a thought with its action. Default `\nObservation:`. */
  observationMark: text({ default: '\nObservation:' }),
  /** Steps of an episode at most. Default 7. */
  maxSteps: integer({ default: 7, min: 1 }),
  /** Tools that run at a time. Default 4. */
  concurrency: integer({ default: 4, min: 1 }),
};
type Episodes = Given<Options<typeof episodeShape>>;
export type EpisodeSettings = Required<Omit<Episodes, 'parseAction'>> & {
  readonly parseAction?: ((step: string) => ToolCall | null) | undefined;
};

/** The last `Action: tool[argument]` of a text, numbered or not, as ReAct's prompts have it. */
export function lastAction(step: string): ToolCall | null {
  const found = [...step.matchAll(/^\s*action(?:\s+\d+)?\s*:\s*(\w+)\s*\[(.*?)\]\s*$/gims)].at(-1);
  return found ? { tool: found[1]!, argument: found[2]! } : null;
}

/** How an episode has ended. */
export interface Episode {
  readonly node: SearchNode;
  /** What the finishing tool was given; `null` where the episode did not come to it. */
  readonly answer: string | null;
  /** Tools that were called. */
  readonly calls: readonly ToolCall[];
}

/**
 * Episodes of thought, action and observation, side by side: each step of all of them goes out together, and the next begins when the
 * tools of all have answered, so that the tree does not depend on which tool was faster.
 *
 * @param prompt in the place of the problem's
 */
export async function runEpisodes(
  search: Search,
  roots: readonly SearchNode[],
  { tools, parseAction = lastAction, finishTool, observationMark, maxSteps, concurrency }: EpisodeSettings,
  prompt?: Prompt,
): Promise<Episode[]> {
  const limiter = createLimiter(concurrency, 'tools');
  let episodes = roots.map((node) => ({
    node,
    answer: null as string | null,
    calls: [] as readonly ToolCall[],
    isOver: false,
  }));
  const observe = async ({ tool, argument }: ToolCall, stop: AbortSignal): Promise<string> => {
    const run = Object.hasOwn(tools, tool) ? tools[tool] : undefined;
    if (!run) return `There is no tool ${tool}; there are ${[...Object.keys(tools), finishTool].join(', ')}.`;
    return run(argument, { signal: AbortSignal.any([stop, search.signal]) });
  };
  for (let step = 1; step <= maxSteps && episodes.some(({ isOver }) => !isOver); step++) {
    const drawn = await Promise.all(
      episodes.map(async ({ node, isOver }) => {
        if (isOver) return undefined;
        const again = prompt === undefined ? {} : { prompt, prefix: node.text };
        const [child] = await search.expand(node, { n: 1, stop: [observationMark], ...again });
        return child;
      }),
    );
    const acted = drawn.map((child) => {
      const call = child
        ? parseAction(child.text.endsWith(observationMark) ? child.text.slice(0, -observationMark.length) : child.text)
        : null;
      return child && call ? { child, call } : undefined;
    });
    const isLast = (call: ToolCall) => call.tool.toLowerCase() === finishTool.toLowerCase();
    const observed = await allOrAbort(
      [],
      acted.map(
        (it) => (stop: AbortSignal) => (it && !isLast(it.call) ? observe(it.call, stop) : Promise.resolve(null)),
      ),
      limiter,
    );
    episodes = episodes.map((episode, i) => {
      const child = drawn[i];
      if (!child) return { ...episode, isOver: true };
      const call = acted[i]?.call;
      if (!call) return { ...episode, node: child, isOver: true };
      if (isLast(call)) return { ...episode, node: child, answer: call.argument, isOver: true };
      const { text } = child;
      const begun = text.endsWith(observationMark) ? text : text + observationMark;
      const node = search.merge(
        [child],
        { tool: call.tool, argument: call.argument, observation: observed[i] },
        `${begun} ${observed[i]}\n`,
      );
      return { ...episode, node, calls: [...episode.calls, call] };
    });
  }
  return episodes.map(({ node, answer, calls }) => ({ node, answer, calls }));
}
