import type { OptionShape } from '@posttrain/interfaces';
import type { Command } from './command.js';
import type { DeclaredCommand } from './commands/declared-command.js';
import { OBJECTIVES } from './objective-names.js';

const TRAINING = 'MODEL ROWS OUTPUT [options]';

type Run = Command['run'];

/** A command whose code is loaded when it is called. */
const lazy = (usage: string, about: string, load: () => Promise<Run>): Command => ({
  usage,
  about,
  run: async (given, context) => (await load())(given, context),
});

/** A training by its name. */
const training = (name: string, about: string): Command =>
  lazy(TRAINING, about, async () => {
    const { runTraining } = await import('./training/run.js');
    return (given, context) => runTraining(name, given, context);
  });

/** A command whose options are all its own. */
const declared = <S extends OptionShape>(
  usage: string,
  about: string,
  load: () => Promise<DeclaredCommand<S>>,
): Command =>
  lazy(usage, about, async () => {
    const [command, { runDeclared }] = await Promise.all([load(), import('./commands/declared-command.js')]);
    return (given, context) => runDeclared(command, given, context);
  });

/** Commands by name; the objectives of reinforcement learning are commands beside them. */
export const commands: Readonly<Record<string, Command>> = {
  sft: training('sft', 'Fine-tunes a model on texts, completions or conversations.'),
  prefer: training('prefer', 'Trains on preferences: DPO and the other losses.'),
  reward: training('reward', 'Trains a reward model.'),
  distill: training('distill', 'Trains a model to say what a teacher would.'),
  merge: lazy(
    'MODEL ADAPTER OUTPUT',
    'Merges an adapter into its model, or models by a recipe.',
    async () => (await import('./commands/merge-command.js')).mergeCommand,
  ),
  quantize: declared(
    'MODEL OUTPUT --method NAME',
    'Quantises a model.',
    async () => (await import('./commands/quantize-command.js')).quantizeCommand,
  ),
  generate: declared(
    'MODEL [PROMPT] [options]',
    'Generates completions.',
    async () => (await import('./commands/generate-command.js')).generateCommand,
  ),
  chat: declared(
    'MODEL [options]',
    'A conversation in the terminal.',
    async () => (await import('./commands/chat-command.js')).chatCommand,
  ),
  search: declared(
    'MODEL [PROMPT] [options]',
    'Searches at test time: votes, best of n, trees.',
    async () => (await import('./commands/search-command.js')).searchCommand,
  ),
  eval: lazy('COMMAND', 'Evaluates a model on tasks; compares, shows and gates runs.', async () => {
    const { evalCommand } = await import('@posttrain/eval');
    return (given, { print, ...context }) =>
      evalCommand(given, { ...context, print: (said) => print(said.replaceAll('posttrain-eval', 'posttrain eval')) });
  }),
  data: declared(
    'ROWS [OUTPUT] [options]',
    'Looks at rows, checks and converts them.',
    async () => (await import('./commands/data-command.js')).dataCommand,
  ),
  page: declared(
    'RUN [options]',
    'Writes the page of a training: curves, samples, settings.',
    async () => (await import('./commands/page-command.js')).pageCommand,
  ),
  watch: declared(
    'RUN [options]',
    'The same page in a browser, while the training goes.',
    async () => (await import('./commands/watch-command.js')).watchCommand,
  ),
  serve: lazy('MODEL [options]', 'Answers the OpenAI API with a local model.', async () => {
    const { serveCommand } = await import('@posttrain/serve');
    return (given) => serveCommand(given, 'posttrain serve');
  }),
};

/** Commands of TRL's, and others that have a second name. */
const ALIASES: Readonly<Record<string, string>> = { dpo: 'prefer' };

/** The objectives of reinforcement learning, as they are typed. */
export const policyCommands = (): string[] => OBJECTIVES.map((name) => name.replaceAll('_', '-'));

export const commandNames = (): string[] => [...Object.keys(commands), ...Object.keys(ALIASES), ...policyCommands()];

/** The command of a name; undefined where there is none. */
export function commandNamed(name: string): Command | undefined {
  const meant = Object.hasOwn(ALIASES, name) ? ALIASES[name]! : name;
  if (Object.hasOwn(commands, meant)) return commands[meant];
  if (!policyCommands().includes(name)) return undefined;
  return training(name, 'Reinforces a policy with rewards.');
}
