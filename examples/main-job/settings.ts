/** The knobs of the job. The defaults are the embedded task's (see ../pretrain-tiny/RECIPE.md). */
export interface JobSettings {
  readonly seed: number;
  readonly loraRank: number;
  readonly sft: { readonly steps: number; readonly rowsPerStep: number; readonly learningRate: number };
  readonly grpo: {
    readonly steps: number;
    readonly promptsPerStep: number;
    readonly completionsPerPrompt: number;
    readonly learningRate: number;
  };
  /** Completions per held-out problem in the evaluations. */
  readonly evaluationSamples: number;
  /** Completions per held-out problem in the last evaluation, which is that of test-time scaling too. */
  readonly scalingSamples: number;
}

export const DEFAULT_SETTINGS: JobSettings = {
  seed: 0,
  loraRank: 8,
  sft: { steps: 32, rowsPerStep: 16, learningRate: 1e-3 },
  grpo: { steps: 64, promptsPerStep: 16, completionsPerPrompt: 8, learningRate: 3e-3 },
  evaluationSamples: 8,
  scalingSamples: 32,
};
