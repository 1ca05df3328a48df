export interface PackageSeconds {
  readonly name: string;
  readonly seconds: number;
  readonly budget: number;
  readonly kinds: readonly { readonly kind: string; readonly seconds: number }[];
}
export function secondsByPackage(
  files: readonly { readonly path: string; readonly seconds: number }[],
  budgets: Readonly<Record<string, number>>,
  cores: number,
): PackageSeconds[];
export function secondsTable(rows: readonly PackageSeconds[]): string[];
