export function changedFiles(root: string, since?: string): string[] | undefined;
export function slowTests(root: string): string[];
export function touchedBy(changed: readonly string[], tests: readonly string[]): string[];
