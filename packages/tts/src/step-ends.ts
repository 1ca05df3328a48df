import type { Completion } from '@posttrain/interfaces';

/**
 * How the steps of a search have ended. Where none has at one of its stops, each text was a single step: a search over steps has drawn
 * whole texts and nothing more, which its result does not show.
 */
export class StepEnds {
  readonly #isOfSteps: boolean;
  readonly #stops = new Set<string>();
  #ended = 0;
  #completions = 0;

  /** @param isOfSteps whether what parts steps is an option of the strategy, `stop` */
  constructor(isOfSteps: boolean) {
    this.#isOfSteps = isOfSteps;
  }

  /** @param stop what the completions were to end at; those that were lost are undefined */
  count(stop: readonly string[], completions: readonly (Completion | undefined)[]): void {
    if (!this.#isOfSteps || stop.length === 0) return;
    for (const one of stop) this.#stops.add(one);
    for (const completion of completions) {
      if (!completion) continue;
      this.#completions++;
      if (typeof completion.stop === 'string') this.#ended++;
    }
  }

  get notes(): readonly string[] {
    if (this.#completions === 0 || this.#ended > 0) return [];
    const stops = [...this.#stops].map((one) => JSON.stringify(one)).join(', ');
    return [
      `none of ${this.#completions} steps ended at ${stops}: each ran to the end of its text, so that whole texts were compared. Give as the strategy's option stop what parts steps in this model's texts.`,
    ];
  }
}
