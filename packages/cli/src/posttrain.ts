import { isPosttrainError, nearestName, OptionError } from '@posttrain/interfaces';
import { type CommandContext, EXIT } from './command.js';
import { commandNamed, commandNames, commands, policyCommands } from './commands.js';
import { CommandLineError } from './options/command-line-error.js';
import { version } from './version.js';

const listed = () =>
  Object.entries(commands)
    .map(([name, { about }]) => `  ${name.padEnd(10)}${about}`)
    .join('\n');

const help = () => `Usage: posttrain COMMAND …

${listed()}
  grpo      Reinforces a policy with rewards, by GRPO. Other objectives are commands, too: ${policyCommands()
    .filter((name) => name !== 'grpo')
    .join(', ')}.

posttrain COMMAND --help says more. Options are in kebab case; --config FILE.yaml reads them, under these names or TRL's.
`;

/**
 * `posttrain …`. Gives the exit code: 0, 1 where the work failed, 2 where the arguments make no sense, 130 where Ctrl-C stopped a run; what
 * is wrong is said to `complain`, in a line.
 */
export async function posttrain(given: readonly string[], context: CommandContext): Promise<number> {
  const [name, ...rest] = given;
  try {
    if (name === undefined || name === 'help' || name === '--help' || name === '-h') {
      context.print(help());
      return 0;
    }
    if (name === '--version') {
      context.print(`${version}\n`);
      return 0;
    }
    const command = commandNamed(name);
    if (!command) {
      const near = nearestName(name, commandNames());
      throw new CommandLineError(
        `there is no command "${name}".${near ? ` Did you mean "${near}"?` : ''} posttrain --help lists them.`,
      );
    }
    return await command.run(rest, context);
  } catch (error) {
    if (!isPosttrainError(error)) throw error;
    context.complain(`${name}: ${error.message}\n`);
    return error instanceof CommandLineError || error instanceof OptionError ? EXIT.arguments : EXIT.failed;
  }
}
