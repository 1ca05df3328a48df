import { PosttrainError } from '@posttrain/interfaces';

/** What was typed, or what a file of options says, cannot be meant. */
export class CommandLineError extends PosttrainError {
  constructor(problem: string) {
    super('COMMAND_LINE', problem);
  }
}
