/** What a command does its work with. */
export interface CommandContext {
  /** What was asked for. */
  readonly print: (text: string) => void;
  /** What is wrong, and what is odd. */
  readonly complain: (text: string) => void;
  readonly environment: Readonly<Record<string, string | undefined>>;
}

/** A command of `posttrain`. Its code is loaded when it is called. */
export interface Command {
  /** What follows the name: `MODEL ROWS OUTPUT [options]`. */
  readonly usage: string;
  /** One sentence. */
  readonly about: string;
  /**
   * Gives the exit code: 0, 1 where the work failed, 2 where the arguments make no sense, 130 where it was interrupted. Errors
   * that are thrown on purpose are said by `posttrain`.
   */
  run(given: readonly string[], context: CommandContext): Promise<number>;
}

/** Exit codes that are not 0. */
export const EXIT = { failed: 1, arguments: 2, interrupted: 130 } as const;
