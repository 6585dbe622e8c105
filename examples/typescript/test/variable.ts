/** The value of a variable that envctl has set. */
export function variable(name: string): string {
  const value = process.env[name];
  if (!value) {
    throw new Error(`${name} is not set: envctl.yaml has no service that gives it`);
  }
  return value;
}
